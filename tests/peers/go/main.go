// The real Go client: go-peer -url URL -trust CA TOPIC... prints one JSON object a topic.
// With -pattern one consumer reads all topics. With -endless it goes on
// sending until a line comes on standard input, and says {"sending": TOPIC} at every 50th message. With -flow it runs
// flow.go instead.
// It has no option for an SNI proxy: the names it is given must resolve to the proxy ("DNS mode").
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/apache/pulsar-client-go/pulsar"
	"github.com/apache/pulsar-client-go/pulsar/log"
	"github.com/sirupsen/logrus"
)

type report struct {
	Topic    string `json:"topic"`
	Sent     int    `json:"sent"`
	Received int    `json:"received"`
	Error    string `json:"error,omitempty"`
}

type options struct {
	n, size int
	timeout time.Duration
	pattern string
	endless bool
}

func main() {
	var o options
	url := flag.String("url", "", "service URL")
	trust := flag.String("trust", "", "CA file")
	token := flag.String("token", "", "a file with a token")
	flag.IntVar(&o.n, "n", 5, "messages a topic")
	flag.IntVar(&o.size, "size", 0, "bytes of a message, at least")
	flag.DurationVar(&o.timeout, "timeout", 15*time.Second, "longest time of one operation")
	flag.StringVar(&o.pattern, "pattern", "", "read all topics by one consumer of this pattern")
	flag.BoolVar(&o.endless, "endless", false, "send until told by standard input")
	var f flow
	flag.StringVar(&f.topic, "flow", "", "the topic of a run with a fault")
	flag.DurationVar(&f.interval, "interval", 50*time.Millisecond, "time between two messages of it")
	flag.IntVar(&f.idleAfter, "idle-after", 0, "the message of it that a pause follows")
	flag.DurationVar(&f.idle, "idle", 0, "the pause")
	flag.DurationVar(&f.sendTimeout, "send-timeout", 5*time.Second, "longest time of sending")
	flag.DurationVar(&f.quiet, "quiet", 3*time.Second, "time to wait for messages that do not come")
	flag.Parse()

	logger := logrus.New()
	logger.SetLevel(logrus.ErrorLevel)
	// TLSValidateHostname stays off: with it this client asks every broker for the service URL's name.
	// The chain, and the name in it, are verified without it too.
	settings := pulsar.ClientOptions{
		URL: *url, TLSTrustCertsFilePath: *trust, OperationTimeout: o.timeout, ConnectionTimeout: 5 * time.Second,
		Logger: log.NewLoggerWithLogrus(logger),
	}
	if *token != "" {
		settings.Authentication = pulsar.NewAuthenticationTokenFromFile(*token)
	}
	client, err := pulsar.NewClient(settings)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	defer client.Close()
	if f.topic != "" {
		f.n = o.n
		f.run(client)
	}
	status := 0
	trips := [][]string{flag.Args()}
	if o.pattern == "" {
		trips = nil
		for _, topic := range flag.Args() {
			trips = append(trips, []string{topic})
		}
	}
	for _, topics := range trips {
		result := report{Topic: topics[0]}
		if o.pattern != "" {
			result.Topic = o.pattern
		}
		if err := roundTrip(client, topics, o, &result); err != nil {
			result.Error = err.Error()
			status = 3
		}
		line, _ := json.Marshal(result)
		fmt.Println(string(line))
	}
	if status != 0 {
		client.Close()
		os.Exit(status)
	}
}

func roundTrip(client pulsar.Client, topics []string, o options, result *report) error {
	reading := pulsar.ConsumerOptions{
		SubscriptionName: "go", SubscriptionInitialPosition: pulsar.SubscriptionPositionEarliest,
	}
	if o.endless {
		// Nobody receives while it sends. A full queue would block the connection, with the answers for the producer.
		reading.ReceiverQueueSize = 100_000
	}
	if o.pattern != "" {
		reading.TopicsPattern = o.pattern
	} else {
		reading.Topic = topics[0]
	}
	consumer, err := client.Subscribe(reading)
	if err != nil {
		return err
	}
	defer consumer.Close()
	var producers []pulsar.Producer
	for _, topic := range topics {
		producer, err := client.CreateProducer(pulsar.ProducerOptions{Topic: topic, SendTimeout: o.timeout})
		if err != nil {
			return err
		}
		defer producer.Close()
		producers = append(producers, producer)
	}
	sent := map[string]bool{}
	send := func(count int) error {
		for i := 0; i < count; i++ {
			for _, producer := range producers {
				text := fmt.Sprintf("%08d", len(sent))
				text += strings.Repeat("x", max(0, o.size-len(text)))
				ctx, cancel := context.WithTimeout(context.Background(), o.timeout)
				_, err := producer.Send(ctx, &pulsar.ProducerMessage{Payload: []byte(text)})
				cancel()
				if err != nil {
					return err
				}
				sent[text] = true
				result.Sent++
			}
		}
		return nil
	}
	if err := send(o.n); err != nil {
		return err
	}
	if o.endless {
		line, _ := json.Marshal(map[string]string{"sending": topics[0]})
		told := make(chan bool)
		go func() {
			bufio.NewReader(os.Stdin).ReadString('\n')
			close(told)
		}()
		for going := true; going; {
			select {
			case <-told:
				going = false
			case <-time.After(5 * time.Millisecond):
				if len(sent)%50 == 0 {
					fmt.Println(string(line))
				}
				if err := send(1); err != nil {
					return err
				}
			}
		}
		if err := send(o.n); err != nil {
			return err
		}
	}
	// What was not yet acknowledged when a topic moved comes again.
	received := map[string]bool{}
	for len(received) < len(sent) {
		ctx, cancel := context.WithTimeout(context.Background(), o.timeout)
		message, err := consumer.Receive(ctx)
		cancel()
		if err != nil {
			return err
		}
		if err := consumer.Ack(message); err != nil {
			return err
		}
		if text := string(message.Payload()); sent[text] {
			received[text] = true
		}
		result.Received = len(received)
	}
	return nil
}
