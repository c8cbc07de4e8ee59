// The real Go client: go-peer -url URL -trust CA TOPIC... prints one JSON object a topic.
// It has no option for an SNI proxy: the names it is given must resolve to the proxy ("DNS mode").
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
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

func main() {
	url := flag.String("url", "", "service URL")
	trust := flag.String("trust", "", "CA file")
	n := flag.Int("n", 5, "messages a topic")
	timeout := flag.Duration("timeout", 15*time.Second, "longest time of one operation")
	flag.Parse()

	logger := logrus.New()
	logger.SetLevel(logrus.ErrorLevel)
	// TLSValidateHostname stays off: with it this client asks every broker for the service URL's name.
	// The chain, and the name in it, are verified without it too.
	client, err := pulsar.NewClient(pulsar.ClientOptions{
		URL: *url, TLSTrustCertsFilePath: *trust, OperationTimeout: *timeout, ConnectionTimeout: 5 * time.Second,
		Logger: log.NewLoggerWithLogrus(logger),
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	defer client.Close()
	status := 0
	for _, topic := range flag.Args() {
		result := report{Topic: topic}
		if err := roundTrip(client, *n, *timeout, &result); err != nil {
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

func roundTrip(client pulsar.Client, n int, timeout time.Duration, result *report) error {
	consumer, err := client.Subscribe(pulsar.ConsumerOptions{Topic: result.Topic, SubscriptionName: "go"})
	if err != nil {
		return err
	}
	defer consumer.Close()
	producer, err := client.CreateProducer(pulsar.ProducerOptions{Topic: result.Topic})
	if err != nil {
		return err
	}
	defer producer.Close()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	for i := 0; i < n; i++ {
		if _, err := producer.Send(ctx, &pulsar.ProducerMessage{Payload: []byte(fmt.Sprintf("%08d", i))}); err != nil {
			return err
		}
		result.Sent++
	}
	for i := 0; i < n; i++ {
		message, err := consumer.Receive(ctx)
		if err != nil {
			return err
		}
		if err := consumer.Ack(message); err != nil {
			return err
		}
		result.Received++
	}
	return nil
}
