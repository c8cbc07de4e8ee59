import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.net.InetSocketAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Properties;
import org.apache.bookkeeper.conf.ServerConfiguration;
import org.apache.pulsar.PulsarClusterMetadataSetup;
import org.apache.pulsar.broker.PulsarService;
import org.apache.pulsar.broker.ServiceConfiguration;
import org.apache.pulsar.common.configuration.PulsarConfigurationLoader;
import org.apache.pulsar.metadata.bookkeeper.BKCluster;
import org.apache.zookeeper.server.NIOServerCnxnFactory;
import org.apache.zookeeper.server.ZooKeeperServer;

/**
 * A real Pulsar cluster in one JVM: ZooKeeper, one bookie, and a broker for each configuration file.
 *
 * <p>Arguments: data folder, or {@code -} for brokers that join the ZooKeeper and the bookie of another JVM;
 * ZooKeeper's port; broker configuration files. Says {@code CLUSTER READY} when all brokers
 * serve, or {@code CLUSTER FAILED} and why. The property peers.setup has arguments of initialize-cluster-metadata, if it
 * shall run before the brokers. It ends when its standard input does, so that it never outlives its parent.
 */
public class PulsarCluster {
    public static void main(String[] args) {
        try {
            endWithStandardInput();
            if (!args[0].equals("-")) {
                startStorage(Path.of(args[0]), Integer.parseInt(args[1]));
                String setup = System.getProperty("peers.setup");
                if (setup != null) {
                    PulsarClusterMetadataSetup.main(setup.split(" "));
                }
            }
            startBrokers(args);
            System.out.println("CLUSTER READY");
            Thread.currentThread().join();
        } catch (Throwable failure) {
            failure.printStackTrace(System.out);
            System.out.println("CLUSTER FAILED " + failure);
            Runtime.getRuntime().halt(1);
        }
    }

    private static void startStorage(Path data, int zookeeperPort) throws Exception {
        startZooKeeper(data.resolve("zookeeper"), zookeeperPort);
        startBookie(data.resolve("bookie"), "zk:127.0.0.1:" + zookeeperPort);
    }

    private static void startBrokers(String[] args) throws Exception {
        for (int i = 2; i < args.length; i++) {
            Properties settings = new Properties();
            try (InputStream in = Files.newInputStream(Path.of(args[i]))) {
                settings.load(in);
            }
            new PulsarService(PulsarConfigurationLoader.create(settings, ServiceConfiguration.class)).start();
        }
    }

    /** ZooKeeper on loopback only: the ensemble that BookKeeper brings for tests listens on every address. */
    private static void startZooKeeper(Path data, int port) throws Exception {
        System.setProperty("zookeeper.admin.enableServer", "false");
        File folder = Files.createDirectories(data).toFile();
        NIOServerCnxnFactory listener = new NIOServerCnxnFactory();
        listener.configure(new InetSocketAddress("127.0.0.1", port), 1000);
        listener.startup(new ZooKeeperServer(folder, folder, 2000));
    }

    private static void startBookie(Path data, String metadata) throws Exception {
        ServerConfiguration settings = new ServerConfiguration();
        // Without these it listens on every address.
        settings.setAllowLoopback(true);
        settings.setListeningInterface("lo");
        settings.setAdvertisedAddress("127.0.0.1");
        settings.setLedgerStorageClass("org.apache.bookkeeper.bookie.storage.ldb.DbLedgerStorage");
        settings.setProperty("dbStorage_writeCacheMaxSizeMb", 8);
        settings.setProperty("dbStorage_readAheadCacheMaxSizeMb", 4);
        settings.setProperty("dbStorage_rocksDB_writeBufferSizeMB", 2);
        settings.setProperty("dbStorage_rocksDB_blockCacheSize", 4 * 1024 * 1024);
        settings.setJournalSyncData(false);
        settings.setProperty("journalMaxGroupWaitMSec", 0L);
        settings.setProperty("journalPreAllocSizeMB", 1);
        settings.setGcWaitTime(600_000);
        settings.setDiskUsageThreshold(0.99f);
        settings.setDiskUsageWarnThreshold(0.98f);
        // None: the work is done on the I/O thread.
        settings.setNumAddWorkerThreads(0);
        settings.setNumReadWorkerThreads(0);
        settings.setNumHighPriorityWorkerThreads(0);
        settings.setNumJournalCallbackThreads(0);
        settings.setServerNumIOThreads(1);
        settings.setNumLongPollWorkerThreads(1);
        BKCluster.builder().baseServerConfiguration(settings).metadataServiceUri(metadata).dataDir(data.toString())
                .numBookies(1).clearOldData(false).build();
    }

    private static void endWithStandardInput() {
        Thread watch = new Thread(() -> {
            try {
                while (System.in.read() >= 0) {
                    // Nothing is ever sent; only the end counts.
                }
            } catch (IOException closed) {
                // As good as the end.
            }
            Runtime.getRuntime().halt(0);
        }, "end-with-stdin");
        watch.setDaemon(true);
        watch.start();
    }
}
