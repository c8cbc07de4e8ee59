import com.fasterxml.jackson.databind.ObjectMapper;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import java.util.concurrent.locks.LockSupport;
import org.apache.pulsar.client.api.Producer;
import org.apache.pulsar.client.api.PulsarClient;

/**
 * The real Java client as a load. Arguments are key=value, those of PulsarPeer's connection, and topics (one), size (bytes
 * of a message), seconds (of each part), pace (messages a second of the second part). It prints one JSON object: messages
 * a second, as fast as it is let, in batches as the client makes them; then, at that pace and one by one, the
 * milliseconds from a send to its receipt: p50, p99; and how many messages there were in all.
 */
public class PulsarLoad {
    private static final int PENDING = 500;

    public static void main(String[] args) throws Exception {
        Map<String, String> options = new HashMap<>();
        for (String arg : args) {
            int equals = arg.indexOf('=');
            options.put(arg.substring(0, equals), arg.substring(equals + 1));
        }
        double seconds = Double.parseDouble(options.get("seconds"));
        byte[] message = new byte[Integer.parseInt(options.get("size"))];
        Map<String, Object> report = new LinkedHashMap<>();
        report.put("topic", options.get("topics"));
        try (PulsarClient client = PulsarPeer.connect(options)) {
            int sent;
            try (Producer<byte[]> producer = client.newProducer().topic(options.get("topics"))
                    .maxPendingMessages(PENDING).blockIfQueueFull(true).sendTimeout(30, TimeUnit.SECONDS).create()) {
                // What the JVMs learn on the way is none of the proxy's.
                sent = flood(producer, message, seconds);
                long began = System.nanoTime();
                int counted = flood(producer, message, seconds);
                report.put("messages/s", counted / ((System.nanoTime() - began) / 1e9));
                sent += counted;
            }
            try (Producer<byte[]> producer = client.newProducer().topic(options.get("topics"))
                    .enableBatching(false).sendTimeout(30, TimeUnit.SECONDS).create()) {
                double[] found = paced(producer, message, seconds, Double.parseDouble(options.get("pace")));
                sent += found.length;
                // The first tenth is a new producer's.
                double[] counted = Arrays.copyOfRange(found, found.length / 10, found.length);
                Arrays.sort(counted);
                report.put("p50, ms", counted[counted.length / 2]);
                report.put("p99, ms", counted[(int) (counted.length * 0.99)]);
            }
            report.put("sent", sent);
        }
        System.out.println(new ObjectMapper().writeValueAsString(report));
        System.exit(0);
    }

    private static int flood(Producer<byte[]> producer, byte[] message, double seconds) throws Exception {
        long until = System.nanoTime() + (long) (1e9 * seconds);
        AtomicReference<Throwable> failure = new AtomicReference<>();
        Semaphore pending = new Semaphore(PENDING);
        int count = 0;
        while (System.nanoTime() < until && failure.get() == null) {
            pending.acquire();
            count++;
            producer.sendAsync(message).whenComplete((id, error) -> {
                pending.release();
                if (error != null) {
                    failure.set(error);
                }
            });
        }
        producer.flush();
        pending.acquire(PENDING);
        if (failure.get() != null) {
            throw new IllegalStateException(failure.get());
        }
        return count;
    }

    private static double[] paced(Producer<byte[]> producer, byte[] message, double seconds, double pace)
            throws Exception {
        int count = (int) (seconds * pace);
        double[] took = new double[count];
        CountDownLatch missing = new CountDownLatch(count);
        AtomicReference<Throwable> failure = new AtomicReference<>();
        long began = System.nanoTime();
        for (int i = 0; i < count && failure.get() == null; i++) {
            long due = began + (long) (i * 1e9 / pace);
            while (System.nanoTime() < due) {
                LockSupport.parkNanos(Math.max(1, due - System.nanoTime()));
            }
            int which = i;
            long now = System.nanoTime();
            producer.sendAsync(message).whenComplete((id, error) -> {
                took[which] = (System.nanoTime() - now) / 1e6;
                if (error != null) {
                    failure.set(error);
                }
                missing.countDown();
            });
        }
        if (!missing.await(30, TimeUnit.SECONDS) || failure.get() != null) {
            throw new IllegalStateException(missing.getCount() + " messages were not answered", failure.get());
        }
        return took;
    }
}
