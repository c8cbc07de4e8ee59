import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.pulsar.client.api.AuthenticationFactory;
import org.apache.pulsar.client.api.ClientBuilder;
import org.apache.pulsar.client.api.Consumer;
import org.apache.pulsar.client.api.ConsumerBuilder;
import org.apache.pulsar.client.api.Message;
import org.apache.pulsar.client.api.MessageRoutingMode;
import org.apache.pulsar.client.api.Producer;
import org.apache.pulsar.client.api.ProxyProtocol;
import org.apache.pulsar.client.api.PulsarClient;
import org.apache.pulsar.client.api.SubscriptionInitialPosition;
import org.apache.pulsar.client.impl.LookupTopicResult;
import org.apache.pulsar.client.impl.PulsarClientImpl;
import org.apache.pulsar.common.naming.TopicName;

/**
 * The real Java client. Arguments are key=value; it prints one JSON object a topic.
 *
 * <ul>
 * <li>url, topics (comma separated): required
 * <li>proxy: the SNI proxy's URL (PIP-60); absent: dials the names that it is given
 * <li>trust: CA file; verify: whether the host name is verified
 * <li>token: a file with a token; cert, key: a client certificate, which logs in unless there is a token
 * <li>mode: roundtrip (default: subscribe, send n messages of size bytes, receive them) or lookup (asks for the owner only)
 * <li>pattern: a regular expression; one consumer of it reads all topics
 * <li>endless: goes on sending until a line comes on standard input; says {"sending": topic} at every 50th message
 * <li>unload: a URL that is PUT after a third of the messages, while the others are being sent
 * <li>listener: the advertised listener that lookups by HTTP ask for (PIP-95)
 * <li>timeout: seconds that one operation may take
 * </ul>
 */
public class PulsarPeer {
    private static final ObjectMapper JSON = new ObjectMapper();

    public static void main(String[] args) throws Exception {
        Map<String, String> options = new HashMap<>();
        for (String arg : args) {
            int equals = arg.indexOf('=');
            options.put(arg.substring(0, equals), arg.substring(equals + 1));
        }
        boolean failed = false;
        try (PulsarClient client = connect(options)) {
            String[] named = options.get("topics").split(",");
            boolean together = options.containsKey("pattern");
            for (int trip = 0; trip < (together ? 1 : named.length); trip++) {
                List<String> topics = together ? List.of(named) : List.of(named[trip]);
                Map<String, Object> report = new LinkedHashMap<>();
                report.put("topic", together ? options.get("pattern") : topics.get(0));
                try {
                    if (options.getOrDefault("mode", "roundtrip").equals("lookup")) {
                        lookUp(client, topics.get(0), options, report);
                    } else {
                        roundTrip(client, topics, options, report);
                    }
                } catch (Exception failure) {
                    failed = true;
                    report(failure, report);
                }
                System.out.println(JSON.writeValueAsString(report));
            }
        }
        System.exit(failed ? 3 : 0);
    }

    static void report(Exception failure, Map<String, Object> report) {
        report.put("error", failure.getClass().getSimpleName());
        report.put("root", root(failure).toString());
    }

    static Throwable root(Throwable failure) {
        Throwable root = failure;
        while (root.getCause() != null && root.getCause() != root) {
            root = root.getCause();
        }
        return root;
    }

    static PulsarClient connect(Map<String, String> options) throws Exception {
        return builder(options).build();
    }

    static ClientBuilder builder(Map<String, String> options) throws Exception {
        int timeout = seconds(options);
        ClientBuilder builder = PulsarClient.builder().serviceUrl(options.get("url"))
                .operationTimeout(timeout, TimeUnit.SECONDS).lookupTimeout(timeout, TimeUnit.SECONDS)
                .connectionTimeout(5, TimeUnit.SECONDS).statsInterval(0, TimeUnit.SECONDS)
                .ioThreads(1).listenerThreads(1)
                .enableTlsHostnameVerification(Boolean.parseBoolean(options.get("verify")));
        if (options.containsKey("proxy")) {
            builder.proxyServiceUrl(options.get("proxy"), ProxyProtocol.SNI);
        }
        if (options.containsKey("listener")) {
            builder.listenerName(options.get("listener"));
        }
        if (options.containsKey("trust")) {
            builder.tlsTrustCertsFilePath(options.get("trust"));
        }
        if (options.containsKey("token")) {
            String token = Files.readString(Path.of(options.get("token")));
            builder.authentication(AuthenticationFactory.token(token));
            if (options.containsKey("cert")) {
                builder.tlsCertificateFilePath(options.get("cert")).tlsKeyFilePath(options.get("key"));
            }
        } else if (options.containsKey("cert")) {
            builder.authentication(AuthenticationFactory.TLS(options.get("cert"), options.get("key")));
        }
        return builder;
    }

    /** Only LOOKUP commands: every name that is dialled besides the service's own is a redirect that was followed. */
    private static void lookUp(PulsarClient client, String topic, Map<String, String> options, Map<String, Object> report)
            throws Exception {
        LookupTopicResult owner = ((PulsarClientImpl) client).getLookup().getBroker(TopicName.get(topic))
                .get(seconds(options), TimeUnit.SECONDS);
        report.put("owner", owner.getLogicalAddress().getHostString());
    }

    private static void roundTrip(PulsarClient client, List<String> topics, Map<String, String> options,
            Map<String, Object> report) throws Exception {
        int n = Integer.parseInt(options.getOrDefault("n", "10"));
        String topic = topics.get(0);
        report.put("partitions", client.getPartitionsForTopic(topic).get(seconds(options), TimeUnit.SECONDS).size());
        ConsumerBuilder<byte[]> reading = client.newConsumer().subscriptionName("peer")
                .subscriptionInitialPosition(SubscriptionInitialPosition.Earliest);
        if (options.containsKey("pattern")) {
            reading.topicsPattern(options.get("pattern"));
        } else {
            reading.topic(topic);
        }
        try (Consumer<byte[]> consumer = reading.subscribe()) {
            Set<String> sent = new HashSet<>();
            CompletableFuture<Integer> unloaded = null;
            List<Producer<byte[]>> producers = new ArrayList<>();
            for (String one : topics) {
                producers.add(client.newProducer().topic(one).enableBatching(false)
                        .sendTimeout(Math.max(30, seconds(options)), TimeUnit.SECONDS)
                        .messageRoutingMode(MessageRoutingMode.RoundRobinPartition).create());
            }
            for (int i = 0; i < n; i++) {
                if (i == n / 3 && options.containsKey("unload")) {
                    unloaded = put(options.get("unload"));
                }
                sendOne(producers, sent, options);
            }
            if (unloaded != null) {
                report.put("unload_status", unloaded.get(seconds(options), TimeUnit.SECONDS));
                sendOne(producers, sent, options);
            }
            if (Boolean.parseBoolean(options.get("endless"))) {
                CountDownLatch told = whenTold();
                while (!told.await(5, TimeUnit.MILLISECONDS)) {
                    if (sent.size() % 50 == 0) {
                        System.out.println(JSON.writeValueAsString(Map.of("sending", topic)));
                    }
                    sendOne(producers, sent, options);
                }
                for (int i = 0; i < n; i++) {
                    sendOne(producers, sent, options);
                }
            }
            for (Producer<byte[]> producer : producers) {
                producer.close();
            }
            report.put("sent", sent.size());
            // A set: what was not yet acknowledged when a topic moved comes again.
            Set<String> received = new HashSet<>();
            while (!received.equals(sent)) {
                Message<byte[]> message = consumer.receive(seconds(options), TimeUnit.SECONDS);
                if (message == null) {
                    throw new IllegalStateException("received " + received.size() + " of " + sent.size());
                }
                received.add(new String(message.getData(), StandardCharsets.US_ASCII));
                consumer.acknowledge(message);
            }
            report.put("received", received.size());
        }
    }

    private static void sendOne(List<Producer<byte[]>> producers, Set<String> sent, Map<String, String> options)
            throws Exception {
        int size = Integer.parseInt(options.getOrDefault("size", "0"));
        for (Producer<byte[]> producer : producers) {
            String message = String.format("%08d", sent.size()) + "x".repeat(Math.max(0, size - 8));
            producer.send(message.getBytes(StandardCharsets.US_ASCII));
            sent.add(message);
        }
    }

    private static CountDownLatch whenTold() {
        CountDownLatch told = new CountDownLatch(1);
        Thread waiting = new Thread(() -> {
            try {
                System.in.read();
            } catch (IOException closed) {
                // As good as being told.
            }
            told.countDown();
        }, "told");
        waiting.setDaemon(true);
        waiting.start();
        return told;
    }

    private static CompletableFuture<Integer> put(String url) {
        HttpClient http = HttpClient.newBuilder().followRedirects(HttpClient.Redirect.ALWAYS).build();
        HttpRequest request = HttpRequest.newBuilder(URI.create(url)).PUT(HttpRequest.BodyPublishers.noBody()).build();
        return http.sendAsync(request, HttpResponse.BodyHandlers.discarding()).thenApply(HttpResponse::statusCode);
    }

    private static int seconds(Map<String, String> options) {
        return Integer.parseInt(options.getOrDefault("timeout", "15"));
    }
}
