import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.Map;
import java.util.Set;
import org.apache.pulsar.client.api.v5.Checkpoint;
import org.apache.pulsar.client.api.v5.CheckpointConsumer;
import org.apache.pulsar.client.api.v5.Message;
import org.apache.pulsar.client.api.v5.MessageBuilder;
import org.apache.pulsar.client.api.v5.MessageId;
import org.apache.pulsar.client.api.v5.Producer;
import org.apache.pulsar.client.api.v5.PulsarClient;
import org.apache.pulsar.client.api.v5.PulsarClientBuilder;
import org.apache.pulsar.client.api.v5.QueueConsumer;
import org.apache.pulsar.client.api.v5.StreamConsumer;
import org.apache.pulsar.client.api.v5.Transaction;
import org.apache.pulsar.client.api.v5.auth.AuthenticationFactory;
import org.apache.pulsar.client.api.v5.config.ConnectionPolicy;
import org.apache.pulsar.client.api.v5.config.ProxyProtocol;
import org.apache.pulsar.client.api.v5.config.SubscriptionInitialPosition;
import org.apache.pulsar.client.api.v5.config.TransactionPolicy;
import org.apache.pulsar.client.api.v5.schema.Schema;
import org.apache.pulsar.tls.TlsPolicy;

/**
 * The V5 client of Pulsar 5.0, which does what the lines of its standard input say, and prints a JSON object for each.
 * Arguments are key=value: url, topics (one); proxy, trust, verify, token (a file), timeout (seconds) as of PulsarPeer;
 * transactions: whether it may begin some.
 *
 * <ul>
 * <li>{@code open KIND NAME [SUBSCRIPTION]}: a consumer; KIND is queue, stream, checkpoint, group (a checkpoint consumer of
 * the group SUBSCRIPTION) or namespace (a queue consumer of all topics of {@code public/default}). SUBSCRIPTION: NAME if left
 * out
 * <li>{@code produce N PREFIX}: sends N messages PREFIX-0..., each with a key of its own, in the transaction if one is open
 * <li>{@code receive NAME N}: N different messages, acknowledged, in the transaction if one is open; after a lost
 * connection some come again
 * <li>{@code close NAME}: the consumer
 * <li>{@code begin}, {@code commit}, {@code abort}: a transaction
 * </ul>
 */
public class PulsarScalable {
    private interface Next {
        Message<byte[]> next(Duration patience) throws Exception;
    }

    private interface Acknowledge {
        void acknowledge(MessageId id, Transaction transaction);
    }

    private record Reading(Next next, Acknowledge acknowledge, AutoCloseable closing) {
    }

    private static final ObjectMapper JSON = new ObjectMapper();
    private final Map<String, Reading> consumers = new HashMap<>();
    private final PulsarClient client;
    private final String topic;
    private final Duration patience;
    private Producer<byte[]> producer;
    private Transaction transaction;

    private PulsarScalable(PulsarClient client, String topic, Duration patience) {
        this.client = client;
        this.topic = topic;
        this.patience = patience;
    }

    public static void main(String[] args) throws Exception {
        Map<String, String> options = new HashMap<>();
        for (String arg : args) {
            int equals = arg.indexOf('=');
            options.put(arg.substring(0, equals), arg.substring(equals + 1));
        }
        Duration patience = Duration.ofSeconds(Integer.parseInt(options.getOrDefault("timeout", "15")));
        PulsarScalable peer = new PulsarScalable(connect(options, patience), options.get("topics"), patience);
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII));
        for (String line; (line = lines.readLine()) != null; ) {
            Map<String, Object> report = new LinkedHashMap<>();
            report.put("did", line);
            try {
                peer.act(line.split(" "), report);
            } catch (Exception failure) {
                report.put("error", failure.toString());
                report.put("root", PulsarPeer.root(failure).toString());
            }
            System.out.println(JSON.writeValueAsString(report));
        }
        peer.client.close();
        System.exit(0);
    }

    private static PulsarClient connect(Map<String, String> options, Duration patience) throws Exception {
        ConnectionPolicy.Builder connections = ConnectionPolicy.builder().connectionTimeout(Duration.ofSeconds(5));
        if (options.containsKey("proxy")) {
            connections.proxy(options.get("proxy"), ProxyProtocol.SNI);
        }
        PulsarClientBuilder builder = PulsarClient.builder().serviceUrl(options.get("url")).operationTimeout(patience)
                .connectionPolicy(connections.build());
        if (options.containsKey("trust")) {
            builder.tlsPolicy(TlsPolicy.builder().trustCertsFilePath(options.get("trust"))
                    .enableHostnameVerification(Boolean.parseBoolean(options.get("verify"))).build());
        }
        if (options.containsKey("token")) {
            builder.authentication(AuthenticationFactory.token(Files.readString(Path.of(options.get("token")))));
        }
        if (Boolean.parseBoolean(options.get("transactions"))) {
            builder.transactionPolicy(TransactionPolicy.builder().timeout(Duration.ofSeconds(60)).build());
        }
        return builder.build();
    }

    private void act(String[] words, Map<String, Object> report) throws Exception {
        switch (words[0]) {
            case "open" -> consumers.put(words[2], open(words[1], words[words.length - 1]));
            case "produce" -> produce(Integer.parseInt(words[1]), words[2]);
            case "receive" -> {
                Set<String> received = new LinkedHashSet<>();
                report.put("received", received);
                receive(consumers.get(words[1]), Integer.parseInt(words[2]), received);
            }
            case "close" -> consumers.remove(words[1]).closing().close();
            case "begin" -> transaction = client.newTransaction();
            case "commit" -> {
                transaction.commit();
                report.put("state", transaction.state().toString());
                transaction = null;
            }
            case "abort" -> {
                transaction.abort();
                report.put("state", transaction.state().toString());
                transaction = null;
            }
            default -> throw new IllegalArgumentException(words[0]);
        }
    }

    private void produce(int n, String prefix) throws Exception {
        if (producer == null) {
            producer = client.newProducer(Schema.bytes()).topic(topic).create();
        }
        for (int i = 0; i < n; i++) {
            String text = prefix + "-" + i;
            MessageBuilder<byte[]> message = producer.newMessage().key(text).value(text.getBytes(StandardCharsets.US_ASCII));
            (transaction == null ? message : message.transaction(transaction)).send();
        }
    }

    private void receive(Reading consumer, int n, Set<String> received) throws Exception {
        while (received.size() < n) {
            Message<byte[]> message = consumer.next().next(patience);
            if (message == null) {
                throw new IllegalStateException("no message after " + received.size());
            }
            received.add(new String(message.value(), StandardCharsets.US_ASCII));
            consumer.acknowledge().acknowledge(message.id(), transaction);
        }
    }

    private Reading open(String kind, String subscription) throws Exception {
        return switch (kind) {
            case "queue" -> queue(client.newQueueConsumer(Schema.bytes()).topic(topic).subscriptionName(subscription)
                    .subscriptionInitialPosition(SubscriptionInitialPosition.EARLIEST).subscribe());
            case "namespace" -> queue(client.newQueueConsumer(Schema.bytes()).namespace("public/default")
                    .subscriptionName(subscription).subscriptionInitialPosition(SubscriptionInitialPosition.EARLIEST).subscribe());
            case "stream" -> stream(client.newStreamConsumer(Schema.bytes()).topic(topic).subscriptionName(subscription)
                    .subscriptionInitialPosition(SubscriptionInitialPosition.EARLIEST).subscribe());
            case "checkpoint" -> checkpoint(client.newCheckpointConsumer(Schema.bytes()).topic(topic)
                    .startPosition(Checkpoint.earliest()).create());
            case "group" -> checkpoint(client.newCheckpointConsumer(Schema.bytes()).topic(topic).consumerGroup(subscription)
                    .startPosition(Checkpoint.earliest()).create());
            default -> throw new IllegalArgumentException(kind);
        };
    }

    private static Reading queue(QueueConsumer<byte[]> consumer) {
        return new Reading(consumer::receive, (id, transaction) -> {
            if (transaction == null) {
                consumer.acknowledge(id);
            } else {
                consumer.acknowledge(id, transaction);
            }
        }, consumer);
    }

    private static Reading stream(StreamConsumer<byte[]> consumer) {
        return new Reading(consumer::receive, (id, transaction) -> {
            if (transaction == null) {
                consumer.acknowledgeCumulative(id);
            } else {
                consumer.acknowledgeCumulative(id, transaction);
            }
        }, consumer);
    }

    /** The broker keeps no position of such a consumer. */
    private static Reading checkpoint(CheckpointConsumer<byte[]> consumer) {
        return new Reading(consumer::receive, (id, transaction) -> { }, consumer);
    }
}
