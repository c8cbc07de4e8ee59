import com.fasterxml.jackson.databind.ObjectMapper;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.apache.pulsar.client.api.Consumer;
import org.apache.pulsar.client.api.Message;
import org.apache.pulsar.client.api.Producer;
import org.apache.pulsar.client.api.PulsarClient;
import org.apache.pulsar.client.api.SubscriptionInitialPosition;
import org.apache.pulsar.client.api.transaction.Transaction;

/**
 * Transactions of the classic Java API. Arguments are key=value, as those of PulsarPeer; n: messages of a transaction. It
 * prints one JSON object a topic.
 *
 * <p>In each topic four transactions, so that four coordinators have one each: n messages, committed; one message, aborted;
 * the acknowledgements of n messages, committed; one acknowledgement, aborted. {@code received}: what the first consumer
 * got; {@code again}: what the second consumer of the subscription got, until a last message that no transaction has;
 * {@code coordinators}: their numbers.
 */
public class PulsarTransactions {
    private static int timeout;

    public static void main(String[] args) throws Exception {
        Map<String, String> options = new HashMap<>();
        for (String arg : args) {
            int equals = arg.indexOf('=');
            options.put(arg.substring(0, equals), arg.substring(equals + 1));
        }
        timeout = Integer.parseInt(options.getOrDefault("timeout", "15"));
        int n = Integer.parseInt(options.getOrDefault("n", "5"));
        boolean failed = false;
        try (PulsarClient client = PulsarPeer.builder(options).enableTransaction(true).build()) {
            for (String topic : options.get("topics").split(",")) {
                Map<String, Object> report = new LinkedHashMap<>();
                report.put("topic", topic);
                try {
                    run(client, topic, n, report);
                } catch (Exception failure) {
                    failed = true;
                    PulsarPeer.report(failure, report);
                }
                System.out.println(new ObjectMapper().writeValueAsString(report));
            }
        }
        System.exit(failed ? 3 : 0);
    }

    private static void run(PulsarClient client, String topic, int n, Map<String, Object> report) throws Exception {
        List<Transaction> transactions = new ArrayList<>();
        try (Producer<byte[]> producer = client.newProducer().topic(topic).sendTimeout(0, TimeUnit.SECONDS).create()) {
            try (Consumer<byte[]> consumer = subscribe(client, topic)) {
                Transaction sent = begin(client, transactions);
                for (int i = 0; i < n; i++) {
                    producer.newMessage(sent).value(bytes("sent-" + i)).send();
                }
                get(sent.commit());
                Transaction dropped = begin(client, transactions);
                producer.newMessage(dropped).value(bytes("aborted")).send();
                get(dropped.abort());
                producer.send(bytes("outside"));

                List<String> received = new ArrayList<>();
                report.put("received", received);
                Transaction acknowledged = begin(client, transactions);
                for (int i = 0; i < n; i++) {
                    get(consumer.acknowledgeAsync(next(consumer, received).getMessageId(), acknowledged));
                }
                get(acknowledged.commit());
                Transaction undone = begin(client, transactions);
                get(consumer.acknowledgeAsync(next(consumer, received).getMessageId(), undone));
                get(undone.abort());
            }
            producer.send(bytes("last"));
            List<String> again = new ArrayList<>();
            report.put("again", again);
            try (Consumer<byte[]> consumer = subscribe(client, topic)) {
                while (!again.contains("last")) {
                    consumer.acknowledge(next(consumer, again));
                }
            }
        }
        TreeSet<Long> coordinators = new TreeSet<>();
        transactions.forEach(transaction -> coordinators.add(transaction.getTxnID().getMostSigBits()));
        report.put("coordinators", coordinators);
    }

    private static Consumer<byte[]> subscribe(PulsarClient client, String topic) throws Exception {
        return client.newConsumer().topic(topic).subscriptionName("transactions")
                .subscriptionInitialPosition(SubscriptionInitialPosition.Earliest).subscribe();
    }

    private static Transaction begin(PulsarClient client, List<Transaction> transactions) throws Exception {
        Transaction transaction = get(client.newTransaction().withTransactionTimeout(60, TimeUnit.SECONDS).build());
        transactions.add(transaction);
        return transaction;
    }

    private static Message<byte[]> next(Consumer<byte[]> consumer, List<String> received) throws Exception {
        Message<byte[]> message = consumer.receive(timeout, TimeUnit.SECONDS);
        if (message == null) {
            throw new IllegalStateException("no message after " + received);
        }
        received.add(new String(message.getData(), StandardCharsets.US_ASCII));
        return message;
    }

    private static <T> T get(CompletableFuture<T> future) throws Exception {
        return future.get(timeout, TimeUnit.SECONDS);
    }

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.US_ASCII);
    }
}
