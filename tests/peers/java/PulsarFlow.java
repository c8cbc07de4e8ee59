import com.fasterxml.jackson.databind.ObjectMapper;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import org.apache.pulsar.client.api.Consumer;
import org.apache.pulsar.client.api.Message;
import org.apache.pulsar.client.api.Producer;
import org.apache.pulsar.client.api.PulsarClient;
import org.apache.pulsar.client.api.SubscriptionInitialPosition;

/**
 * The real Java client in a run with a fault. Prints what tests/peers/flowevents.py reads; does and takes the same as
 * tests/peers/python_flow.py, with options as key=value.
 */
public class PulsarFlow {
    private static final ObjectMapper JSON = new ObjectMapper();
    /** How often a consumer or producer is tried to be opened, and the milliseconds between. */
    private static final int TRIES = 3;
    private static final long TRY_AGAIN_MS = 500;
    /** Milliseconds without a message after which all has been received. */
    private static final long QUIET_MS = 1000;

    public static void main(String[] args) throws Exception {
        Map<String, String> options = new HashMap<>(Map.of("n", "20", "interval", "0.05", "idle_after", "0",
                "idle", "0", "send_timeout", "5", "timeout", "8", "quiet", "3"));
        for (String arg : args) {
            int equals = arg.indexOf('=');
            options.put(arg.substring(0, equals), arg.substring(equals + 1));
        }
        int count = Integer.parseInt(options.get("n"));
        PulsarClient client = PulsarPeer.connect(options);
        Callable<Consumer<byte[]>> subscribe = () -> client.newConsumer().topic(options.get("topic"))
                .subscriptionName("flow").subscriptionInitialPosition(SubscriptionInitialPosition.Earliest).subscribe();
        Callable<Producer<byte[]>> create = () -> client.newProducer().topic(options.get("topic")).enableBatching(false)
                .sendTimeout(Integer.parseInt(options.get("send_timeout")), TimeUnit.SECONDS).create();
        Consumer<byte[]> consumer = open("consumer", subscribe);
        Receiver receiver = consumer == null ? null : new Receiver(consumer);
        Producer<byte[]> producer = open("producer", create);
        for (int n = 1; producer != null && n <= count; n++) {
            byte[] text = String.valueOf(n).getBytes(StandardCharsets.US_ASCII);
            attempt("send", n, () -> producer.send(text));
            Thread.sleep(millis(options, n == Integer.parseInt(options.get("idle_after")) ? "idle" : "interval"));
        }
        if (receiver != null) {
            receiver.touch();
            receiver.await(count, millis(options, "quiet"));
            receiver.end();
            close(consumer);
        }
        report("again", Map.of());
        Consumer<byte[]> another = open("consumer", subscribe);
        if (another != null) {
            receiver = new Receiver(another);
            receiver.await(0, QUIET_MS);
            receiver.end();
            close(another);
        }
        report("end", Map.of());
        // Closing the client would wait for a connection that is stuck.
        Runtime.getRuntime().halt(0);
    }

    private static long millis(Map<String, String> options, String name) {
        return (long) (Double.parseDouble(options.get(name)) * 1000);
    }

    private static void close(Consumer<byte[]> consumer) throws Exception {
        attempt("close", 0, () -> {
            consumer.close();
            return true;
        });
    }

    private static void report(String what, Map<String, Object> more) throws Exception {
        Map<String, Object> event = new LinkedHashMap<>();
        event.put("at", System.nanoTime() / 1e9);
        event.put("what", what);
        event.putAll(more);
        // At once, because logs go to the same file.
        String line = JSON.writeValueAsString(event) + "\n";
        synchronized (JSON) {
            System.out.print(line);
            System.out.flush();
        }
    }

    /** Returns the result. null: it failed. */
    private static <T> T attempt(String what, int n, Callable<T> action) throws Exception {
        long began = System.nanoTime();
        Map<String, Object> event = new LinkedHashMap<>();
        T result = null;
        event.put("error", "");
        try {
            result = action.call();
        } catch (Exception failure) {
            event.put("error", failure.getClass().getSimpleName());
            event.put("text", PulsarPeer.root(failure).toString());
        }
        event.put("seconds", (System.nanoTime() - began) / 1e9);
        event.put("n", n);
        report(what, event);
        return result;
    }

    private static <T> T open(String what, Callable<T> action) throws Exception {
        for (int number = 0; number < TRIES; number++) {
            if (number > 0) {
                Thread.sleep(TRY_AGAIN_MS);
            }
            T result = attempt(what, 0, action);
            if (result != null) {
                return result;
            }
        }
        return null;
    }

    /** Receives and acknowledges in a thread until its end. */
    private static class Receiver extends Thread {
        private final Consumer<byte[]> consumer;
        private final Set<Integer> numbers = ConcurrentHashMap.newKeySet();
        private volatile long lastAt = System.nanoTime();
        private volatile boolean ended;

        Receiver(Consumer<byte[]> consumer) {
            this.consumer = consumer;
            setDaemon(true);
            start();
        }

        void touch() {
            lastAt = System.nanoTime();
        }

        /** Waits until nothing has come for a time; QUIET_MS suffices once that many different messages have come. */
        void await(int count, long quietMillis) throws InterruptedException {
            while (true) {
                long enough = numbers.size() >= count ? QUIET_MS : quietMillis;
                if (System.nanoTime() - lastAt >= enough * 1_000_000) {
                    return;
                }
                Thread.sleep(50);
            }
        }

        void end() throws InterruptedException {
            ended = true;
            join();
        }

        @Override
        public void run() {
            try {
                while (!ended) {
                    receiveOne();
                }
            } catch (Exception failure) {
                failure.printStackTrace();
            }
        }

        private void receiveOne() throws Exception {
            try {
                Message<byte[]> message = consumer.receive(200, TimeUnit.MILLISECONDS);
                if (message != null) {
                    touch();
                    int number = Integer.parseInt(new String(message.getData(), StandardCharsets.US_ASCII));
                    numbers.add(number);
                    report("message", Map.of("n", number));
                    consumer.acknowledge(message);
                }
            } catch (Exception failure) {
                report("receive", Map.of("error", failure.getClass().getSimpleName(),
                        "text", PulsarPeer.root(failure).toString()));
                Thread.sleep(200);
            }
        }
    }
}
