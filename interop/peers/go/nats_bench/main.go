// nats.go beside ours, under the same load: a goroutine for each request.
//
//	nats_bench same|split URL BROKER_PROCESS BODY_BYTES CONCURRENCY WARM_UP_MS SPAN_MS
//	nats_bench serve URL
//
// Prints one object of JSON, as a cell of benches/compare does.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"github.com/nats-io/nats.go"
)

// What a cell answers; the names are those of Driven in benches/src/drive.rs.
type driven struct {
	Calls       uint64  `json:"calls"`
	Seconds     float64 `json:"seconds"`
	P50         float64 `json:"p50"`
	P99         float64 `json:"p99"`
	P999        float64 `json:"p999"`
	CPU         uint64  `json:"cpu"`
	BrokerCPU   uint64  `json:"broker_cpu"`
	Allocations uint64  `json:"allocations"`
	Allocated   uint64  `json:"allocated"`
	Peak        uint64  `json:"peak"`
}

func main() {
	log.SetFlags(0)
	url := os.Args[2]
	server, subject := 0, ""
	switch os.Args[1] {
	case "serve":
		fmt.Println(serve(url))
		// Ends with its parent.
		io.Copy(io.Discard, os.Stdin)
		return
	case "split":
		server, subject = start(url)
	default:
		subject = serve(url)
	}
	broker, body, concurrency := number(3), number(4), number(5)
	warmUp, span := milliseconds(6), milliseconds(7)
	json.NewEncoder(os.Stdout).Encode(drive(url, subject, server, broker, body, concurrency, warmUp, span))
}

func number(at int) int {
	value, err := strconv.Atoi(os.Args[at])
	check(err)
	return value
}

func milliseconds(at int) time.Duration {
	return time.Duration(number(at)) * time.Millisecond
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// Answers each request in a goroutine, as a handler that may wait does. The subject is of this
// process: the broker may not have noticed yet that the responder before is gone.
func serve(url string) (subject string) {
	subject = fmt.Sprintf("bench%d.go", os.Getpid())
	nc, err := nats.Connect(url)
	check(err)
	_, err = nc.QueueSubscribe(subject, "q", func(m *nats.Msg) {
		go m.Respond(m.Data)
	})
	check(err)
	check(nc.Flush())
	return subject
}

// The server ends with its standard input, and a pipe that nothing refers to is closed.
var serverInput io.Closer

// Starts the server as a process of its own, and returns its number and its subject.
func start(url string) (process int, subject string) {
	command := exec.Command(os.Args[0], "serve", url)
	var err error
	serverInput, err = command.StdinPipe()
	check(err)
	said, err := command.StdoutPipe()
	check(err)
	check(command.Start())
	subject, err = bufio.NewReader(said).ReadString('\n')
	check(err)
	return command.Process.Pid, strings.TrimSpace(subject)
}

func drive(url, subject string, server, broker, body, concurrency int, warmUp, span time.Duration) driven {
	nc, err := nats.Connect(url)
	check(err)
	begin := time.Now().Add(warmUp)
	end := begin.Add(span)
	counts := make([]struct {
		calls atomic.Uint64
		_     [120]byte
	}, concurrency)
	latencies := make([][]time.Duration, concurrency)
	var workers sync.WaitGroup
	for worker := range counts {
		workers.Add(1)
		go func(worker int) {
			defer workers.Done()
			sent := make([]byte, body)
			for now := time.Now(); now.Before(end); {
				answer, err := nc.Request(subject, sent, 10*time.Second)
				check(err)
				if len(answer.Data) != body {
					log.Fatalf("%d bytes came back, not %d", len(answer.Data), body)
				}
				answered := time.Now()
				if answered.After(begin) {
					latencies[worker] = append(latencies[worker], answered.Sub(now))
				}
				now = answered
				counts[worker].calls.Add(1)
			}
		}(worker)
	}
	sample := func() (at time.Time, calls, cpu, brokerCPU uint64) {
		for worker := range counts {
			calls += counts[worker].calls.Load()
		}
		return time.Now(), calls, clock(0) + clockOf(server), clockOf(broker)
	}
	time.Sleep(time.Until(begin))
	at, calls, cpu, brokerCPU := sample()
	time.Sleep(time.Until(end))
	atEnd, callsEnd, cpuEnd, brokerCPUEnd := sample()
	workers.Wait()
	var all []time.Duration
	for _, some := range latencies {
		all = append(all, some...)
	}
	sort.Slice(all, func(one, other int) bool { return all[one] < all[other] })
	return driven{
		Calls:     callsEnd - calls,
		Seconds:   atEnd.Sub(at).Seconds(),
		P50:       quantile(all, 0.5),
		P99:       quantile(all, 0.99),
		P999:      quantile(all, 0.999),
		CPU:       cpuEnd - cpu,
		BrokerCPU: brokerCPUEnd - brokerCPU,
		Peak:      peak(os.Getpid()) + peak(server),
	}
}

func quantile(sorted []time.Duration, part float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return float64(sorted[int(part*float64(len(sorted)-1))].Nanoseconds())
}

// Nanoseconds of CPU of a process, all threads; its own with 0, none without a process.
func clockOf(process int) uint64 {
	if process == 0 {
		return 0
	}
	return clock(process)
}

func clock(process int) uint64 {
	const ownProcess = 2
	id := int32(ownProcess)
	if process != 0 {
		// The kernel's clock of another process, as in benches/src/process.rs.
		id = ^int32(process)<<3 | 2
	}
	var now syscall.Timespec
	_, _, failed := syscall.Syscall(
		syscall.SYS_CLOCK_GETTIME, uintptr(id), uintptr(unsafe.Pointer(&now)), 0)
	if failed != 0 {
		return 0
	}
	return uint64(now.Nano())
}

// Bytes of memory that a process has had at most; 0 without one.
func peak(process int) uint64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", process))
	if err != nil {
		return 0
	}
	for _, line := range strings.Split(string(status), "\n") {
		if rest, found := strings.CutPrefix(line, "VmHWM:"); found {
			kibibytes, _ := strconv.ParseUint(strings.Fields(rest)[0], 10, 64)
			return kibibytes * 1024
		}
	}
	return 0
}
