import com.fasterxml.jackson.databind.ObjectMapper;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.apache.pulsar.client.api.AuthenticationFactory;
import org.apache.pulsar.client.api.ClientBuilder;
import org.apache.pulsar.client.api.Consumer;
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
            for (String topic : options.get("topics").split(",")) {
                Map<String, Object> report = new LinkedHashMap<>();
                report.put("topic", topic);
                try {
                    if (options.getOrDefault("mode", "roundtrip").equals("lookup")) {
                        lookUp(client, topic, options, report);
                    } else {
                        roundTrip(client, topic, options, report);
                    }
                } catch (Exception failure) {
                    failed = true;
                    Throwable root = failure;
                    while (root.getCause() != null && root.getCause() != root) {
                        root = root.getCause();
                    }
                    report.put("error", failure.getClass().getSimpleName());
                    report.put("root", root.toString());
                }
                System.out.println(JSON.writeValueAsString(report));
            }
        }
        System.exit(failed ? 3 : 0);
    }

    static PulsarClient connect(Map<String, String> options) throws Exception {
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
        return builder.build();
    }

    /** Only LOOKUP commands: every name that is dialled besides the service's own is a redirect that was followed. */
    private static void lookUp(PulsarClient client, String topic, Map<String, String> options, Map<String, Object> report)
            throws Exception {
        LookupTopicResult owner = ((PulsarClientImpl) client).getLookup().getBroker(TopicName.get(topic))
                .get(seconds(options), TimeUnit.SECONDS);
        report.put("owner", owner.getLogicalAddress().getHostString());
    }

    private static void roundTrip(PulsarClient client, String topic, Map<String, String> options,
            Map<String, Object> report) throws Exception {
        int n = Integer.parseInt(options.getOrDefault("n", "10"));
        int size = Integer.parseInt(options.getOrDefault("size", "0"));
        report.put("partitions", client.getPartitionsForTopic(topic).get(seconds(options), TimeUnit.SECONDS).size());
        try (Consumer<byte[]> consumer = client.newConsumer().topic(topic).subscriptionName("peer")
                .subscriptionInitialPosition(SubscriptionInitialPosition.Earliest).subscribe()) {
            Set<String> sent = new HashSet<>();
            CompletableFuture<Integer> unloaded = null;
            try (Producer<byte[]> producer = client.newProducer().topic(topic).enableBatching(false)
                    .messageRoutingMode(MessageRoutingMode.RoundRobinPartition).create()) {
                for (int i = 0; i < n; i++) {
                    if (i == n / 3 && options.containsKey("unload")) {
                        unloaded = put(options.get("unload"));
                    }
                    String message = String.format("%08d", i) + "x".repeat(Math.max(0, size - 8));
                    producer.send(message.getBytes(StandardCharsets.US_ASCII));
                    sent.add(message);
                }
                if (unloaded != null) {
                    report.put("unload_status", unloaded.get(seconds(options), TimeUnit.SECONDS));
                    String message = "after the unload";
                    producer.send(message.getBytes(StandardCharsets.US_ASCII));
                    sent.add(message);
                }
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

    private static CompletableFuture<Integer> put(String url) {
        HttpClient http = HttpClient.newBuilder().followRedirects(HttpClient.Redirect.ALWAYS).build();
        HttpRequest request = HttpRequest.newBuilder(URI.create(url)).PUT(HttpRequest.BodyPublishers.noBody()).build();
        return http.sendAsync(request, HttpResponse.BodyHandlers.discarding()).thenApply(HttpResponse::statusCode);
    }

    private static int seconds(Map<String, String> options) {
        return Integer.parseInt(options.getOrDefault("timeout", "15"));
    }
}
