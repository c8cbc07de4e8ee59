package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/apache/pulsar-client-go/pulsar"
	"golang.org/x/sys/unix"
)

// A run with a fault. Prints what tests/peers/flowevents.py reads; does and takes the same as
// tests/peers/python_flow.py.
type flow struct {
	topic       string
	n           int
	interval    time.Duration
	idleAfter   int
	idle        time.Duration
	sendTimeout time.Duration
	quiet       time.Duration
}

const (
	// How often a consumer or producer is tried to be opened, and the time between.
	tries    = 3
	tryAgain = 500 * time.Millisecond
	// Time without a message after which all has been received.
	quietAfterAll = time.Second
)

type event struct {
	At      float64 `json:"at"`
	What    string  `json:"what"`
	N       int     `json:"n"`
	Seconds float64 `json:"seconds"`
	Error   string  `json:"error"`
	Text    string  `json:"text"`
}

var printing sync.Mutex

func monotonic() float64 {
	var now unix.Timespec
	unix.ClockGettime(unix.CLOCK_MONOTONIC, &now)
	return float64(now.Nano()) / 1e9
}

func say(one event) {
	one.At = monotonic()
	line, _ := json.Marshal(one)
	printing.Lock()
	defer printing.Unlock()
	fmt.Println(string(line))
}

func attempt(what string, n int, action func() error) bool {
	began := time.Now()
	err := action()
	one := event{What: what, N: n, Seconds: time.Since(began).Seconds()}
	if err != nil {
		one.Error, one.Text = resultOf(err), err.Error()
	}
	say(one)
	return err == nil
}

// The name of a result of the client, which exports its number only, and writes the name at the end of the text. Of other
// errors, the text.
func resultOf(err error) string {
	var failure *pulsar.Error
	if errors.As(err, &failure) {
		text := failure.Error()
		for at := len(text) - 1; at >= 0; at-- {
			if text[at] == ' ' {
				return text[at+1:]
			}
		}
		return text
	}
	return err.Error()
}

func open(what string, action func() error) bool {
	for number := 0; number < tries; number++ {
		if number > 0 {
			time.Sleep(tryAgain)
		}
		if attempt(what, 0, action) {
			return true
		}
	}
	return false
}

// Receives and acknowledges until it is stopped.
type receiver struct {
	consumer pulsar.Consumer
	lock     sync.Mutex
	numbers  map[int]bool
	lastAt   time.Time
	stopped  chan bool
	ended    chan bool
}

func receive(consumer pulsar.Consumer) *receiver {
	r := &receiver{
		consumer: consumer, numbers: map[int]bool{}, lastAt: time.Now(),
		stopped: make(chan bool), ended: make(chan bool),
	}
	go r.run()
	return r
}

func (r *receiver) run() {
	defer close(r.ended)
	for {
		select {
		case <-r.stopped:
			return
		default:
		}
		ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
		message, err := r.consumer.Receive(ctx)
		cancel()
		if err == nil {
			number, _ := strconv.Atoi(string(message.Payload()))
			r.lock.Lock()
			r.lastAt = time.Now()
			r.numbers[number] = true
			r.lock.Unlock()
			say(event{What: "message", N: number})
			err = r.consumer.Ack(message)
		}
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			say(event{What: "receive", Error: resultOf(err), Text: err.Error()})
			time.Sleep(200 * time.Millisecond)
		}
	}
}

func (r *receiver) touch() {
	r.lock.Lock()
	defer r.lock.Unlock()
	r.lastAt = time.Now()
}

// Waits until nothing has come for a time; quietAfterAll suffices once that many different messages have come.
func (r *receiver) wait(count int, quiet time.Duration) {
	for {
		r.lock.Lock()
		enough, since := quiet, time.Since(r.lastAt)
		if len(r.numbers) >= count {
			enough = quietAfterAll
		}
		r.lock.Unlock()
		if since >= enough {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func (r *receiver) end() {
	close(r.stopped)
	<-r.ended
	attempt("close", 0, func() error {
		r.consumer.Close()
		return nil
	})
}

func (f flow) run(client pulsar.Client) {
	var consumer pulsar.Consumer
	var producer pulsar.Producer
	subscribe := func() (err error) {
		consumer, err = client.Subscribe(pulsar.ConsumerOptions{
			Topic: f.topic, SubscriptionName: "flow", SubscriptionInitialPosition: pulsar.SubscriptionPositionEarliest,
		})
		return err
	}
	create := func() (err error) {
		producer, err = client.CreateProducer(pulsar.ProducerOptions{
			Topic: f.topic, SendTimeout: f.sendTimeout, DisableBatching: true,
		})
		return err
	}
	var receiving *receiver
	if open("consumer", subscribe) {
		receiving = receive(consumer)
	}
	if open("producer", create) {
		for n := 1; n <= f.n; n++ {
			attempt("send", n, func() error {
				text := []byte(strconv.Itoa(n))
				_, err := producer.Send(context.Background(), &pulsar.ProducerMessage{Payload: text})
				return err
			})
			if n == f.idleAfter {
				time.Sleep(f.idle)
			} else {
				time.Sleep(f.interval)
			}
		}
	}
	if receiving != nil {
		receiving.touch()
		receiving.wait(f.n, f.quiet)
		receiving.end()
	}
	say(event{What: "again"})
	if open("consumer", subscribe) {
		receiving = receive(consumer)
		receiving.wait(0, quietAfterAll)
		receiving.end()
	}
	say(event{What: "end"})
	// Closing the client would wait for a connection that is stuck.
	os.Exit(0)
}
