// The Go reference implementation of ETP with the handlers that are measured; its argument is the address to listen on.
package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/txix-open/etp/v4"
	"github.com/txix-open/etp/v4/msg"
)

func main() {
	server := etp.NewServer()
	server.On("echo", etp.HandlerFunc(func(_ context.Context, _ *etp.Conn, event msg.Event) []byte {
		return event.Data
	}))
	server.On("join", etp.HandlerFunc(func(_ context.Context, connection *etp.Conn, event msg.Event) []byte {
		server.Rooms().Join(connection, string(event.Data))
		return nil
	}))
	server.On("leave", etp.HandlerFunc(func(_ context.Context, connection *etp.Conn, event msg.Event) []byte {
		server.Rooms().LeaveByConnId(connection.Id(), string(event.Data))
		return nil
	}))
	server.On("burst", etp.HandlerFunc(func(ctx context.Context, _ *etp.Conn, event msg.Event) []byte {
		burst(ctx, server.Rooms(), string(event.Data))
		return nil
	}))
	if err := http.ListenAndServe(os.Args[1], server); err != nil {
		panic(err)
	}
}

// burst sends what benchmarks/harness/bursts.py describes.
func burst(ctx context.Context, rooms *etp.Rooms, text string) {
	var room string
	var messages, size int
	var pause float64
	if _, err := fmt.Sscan(text, &room, &messages, &size, &pause); err != nil {
		panic(err)
	}
	members := rooms.ToBroadcast(room)
	filling := strings.Repeat("x", size-9)
	for number := range messages {
		data := []byte(fmt.Sprintf("#%08d%s", number, filling))
		for _, member := range members {
			_ = member.Emit(ctx, "news", data)
		}
		if pause > 0 {
			time.Sleep(time.Duration(pause * float64(time.Second)))
		}
	}
}
