import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import org.apache.pulsar.client.api.Consumer;
import org.apache.pulsar.client.api.Message;
import org.apache.pulsar.client.api.Producer;
import org.apache.pulsar.client.api.PulsarClient;
import org.apache.pulsar.client.api.SubscriptionInitialPosition;

/**
 * Two clients, a and b, that send to every topic and read all of it: of two clusters that replicate the topics to each
 * other, or of one, each by a way of its own.
 *
 * <p>Arguments are key=value: topics (comma separated), trust; for each of a and b its url and proxy as a.url and so on.
 * It prints {@code READY} and then obeys its standard input, a command a line:
 *
 * <ul>
 * <li>go: sends numbered messages with ten keys to every topic from both, 100 a second and producer, until stop
 * <li>say a TEXT: one message from a (or b); {@code {"from":"a","to":"b","text":TEXT}} when the other side has it
 * <li>stop: sends no more, waits until all has arrived everywhere, for at most 60 seconds, and ends with the report
 * </ul>
 *
 * <p>While it sends it tells now and then {@code {"sent":{...},"crossed":{...}}}: by sender and topic
 * ({@code a persistent://...}) how many messages the brokers have confirmed, and how many different ones the other
 * has read. The report has sent, crossed, missing, misordered (came before an earlier one of its key), duplicates,
 * and slowest_ms: the longest time until a message was confirmed.
 */
public class PulsarTraffic {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final int KEYS = 10;
    private static final String SAID = "said";
    private static final long TIMEOUT_S = TimeUnit.SECONDS.toNanos(60);

    private final List<Sender> senders = new ArrayList<>();
    private final List<Reader> readers = new ArrayList<>();

    public static void main(String[] args) throws Exception {
        Map<String, String> options = new HashMap<>();
        for (String arg : args) {
            int equals = arg.indexOf('=');
            options.put(arg.substring(0, equals), arg.substring(equals + 1));
        }
        new PulsarTraffic().run(options);
        // What a client still does in the background is of no interest.
        System.exit(0);
    }

    private void run(Map<String, String> options) throws Exception {
        for (String site : List.of("a", "b")) {
            Map<String, String> own = new HashMap<>(options);
            own.put("url", options.get(site + ".url"));
            own.put("proxy", options.get(site + ".proxy"));
            own.put("verify", "true");
            // The client closes connections that it has not used for a minute: the tests would find fewer than before.
            PulsarClient client = PulsarPeer.builder(own).connectionMaxIdleSeconds(-1).build();
            for (String topic : options.get("topics").split(",")) {
                readers.add(new Reader(site, client, topic));
                senders.add(new Sender(site, client, topic));
            }
        }
        say("READY");
        ScheduledExecutorService clock = Executors.newScheduledThreadPool(1);
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String[] words = line.split(" ", 3);
            if (words[0].equals("go")) {
                for (Sender sender : senders) {
                    clock.scheduleAtFixedRate(sender::next, 0, 10, TimeUnit.MILLISECONDS);
                }
                clock.scheduleAtFixedRate(() -> say(progress()), 200, 200, TimeUnit.MILLISECONDS);
            } else if (words[0].equals("say")) {
                Sender sender = senders.stream().filter(one -> one.site.equals(words[1])).findFirst().orElseThrow();
                sender.producer.newMessage().key(SAID).property("site", sender.site)
                        .value(words[2].getBytes(StandardCharsets.UTF_8)).send();
            } else if (words[0].equals("stop")) {
                clock.shutdown();
                clock.awaitTermination(30, TimeUnit.SECONDS);
                finish();
                return;
            }
        }
    }

    private void finish() throws Exception {
        for (Sender sender : senders) {
            sender.producer.flush();
        }
        long end = System.nanoTime() + TIMEOUT_S;
        synchronized (this) {
            while (missing() > 0 && System.nanoTime() < end) {
                wait(100);
            }
            Map<String, Object> report = new LinkedHashMap<>(progress());
            report.put("missing", missing());
            report.put("misordered", readers.stream().mapToInt(one -> one.misordered).sum());
            report.put("duplicates", readers.stream().mapToInt(one -> one.duplicates).sum());
            report.put("slowest_ms", senders.stream().mapToLong(one -> one.slowestMs).max().orElse(0));
            say(Map.of("report", report));
        }
    }

    /** Of all that was confirmed, what has not arrived, in all clusters together; those who sent it read it too. */
    private synchronized int missing() {
        int missing = 0;
        for (Reader reader : readers) {
            for (Sender sender : senders) {
                if (sender.topic.equals(reader.topic)) {
                    missing += sender.confirmed - reader.seen(sender.site);
                }
            }
        }
        return missing;
    }

    private synchronized Map<String, Object> progress() {
        Map<String, Integer> sent = new LinkedHashMap<>();
        Map<String, Integer> crossed = new LinkedHashMap<>();
        for (Sender sender : senders) {
            String key = sender.site + " " + sender.topic;
            sent.put(key, sender.confirmed);
            for (Reader reader : readers) {
                if (reader.topic.equals(sender.topic) && !reader.site.equals(sender.site)) {
                    crossed.put(key, reader.seen(sender.site));
                }
            }
        }
        return Map.of("sent", sent, "crossed", crossed);
    }

    private static void say(Object what) {
        try {
            System.out.println(what instanceof String ? what : JSON.writeValueAsString(what));
        } catch (Exception impossible) {
            throw new IllegalStateException(impossible);
        }
    }

    private final class Sender {
        final String site;
        final String topic;
        final Producer<byte[]> producer;
        int number;
        int confirmed;
        long slowestMs;

        Sender(String site, PulsarClient client, String topic) throws Exception {
            this.site = site;
            this.topic = topic;
            // No limit for a message: what is sent while nobody answers waits, and is sent again.
            producer = client.newProducer().topic(topic).enableBatching(false).sendTimeout(0, TimeUnit.SECONDS)
                    .maxPendingMessages(100_000).create();
        }

        void next() {
            int mine = number++;
            long start = System.nanoTime();
            producer.newMessage().key(Integer.toString(mine % KEYS)).property("site", site)
                    .value(Integer.toString(mine / KEYS).getBytes(StandardCharsets.US_ASCII)).sendAsync()
                    .thenRun(() -> {
                        synchronized (PulsarTraffic.this) {
                            confirmed++;
                            slowestMs = Math.max(slowestMs, TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - start));
                        }
                    });
        }
    }

    private final class Reader {
        final String site;
        final String topic;
        /** By sender and key the numbers that have arrived. */
        final Map<String, BitSet> arrived = new HashMap<>();
        int misordered;
        int duplicates;

        Reader(String site, PulsarClient client, String topic) throws Exception {
            this.site = site;
            this.topic = topic;
            client.newConsumer().topic(topic).subscriptionName("traffic-" + site)
                    .subscriptionInitialPosition(SubscriptionInitialPosition.Earliest)
                    .messageListener(this::received).subscribe();
        }

        void received(Consumer<byte[]> consumer, Message<byte[]> message) {
            String from = message.getProperty("site");
            String text = new String(message.getValue(), StandardCharsets.UTF_8);
            if (!message.getKey().equals(SAID)) {
                take(from, message.getKey(), Integer.parseInt(text));
            } else if (!from.equals(site)) {
                Map<String, String> told = new LinkedHashMap<>();
                told.put("from", from);
                told.put("to", site);
                told.put("text", text);
                say(told);
            }
            consumer.acknowledgeAsync(message);
        }

        private void take(String from, String key, int number) {
            synchronized (PulsarTraffic.this) {
                BitSet seen = arrived.computeIfAbsent(from + " " + key, one -> new BitSet());
                if (seen.get(number)) {
                    duplicates++;
                } else if (seen.nextClearBit(0) != number) {
                    misordered++;
                }
                seen.set(number);
                PulsarTraffic.this.notifyAll();
            }
        }

        int seen(String from) {
            int count = 0;
            for (Map.Entry<String, BitSet> one : arrived.entrySet()) {
                if (one.getKey().startsWith(from + " ")) {
                    count += one.getValue().cardinality();
                }
            }
            return count;
        }
    }
}
