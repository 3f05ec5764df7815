package admin

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/admin/board"
	"github.com/pintle/pintle/app/webhook"
)

func newBoard(o Options) *board.Board {
	return board.New(board.Options{
		Store: o.Store, Dispatcher: o.Dispatcher, Version: o.Version, StartedAt: o.StartedAt, InboundURL: o.inboundURL,
		MaxInFlight: o.MaxInFlight, Rate: o.Rate, DatabasePath: o.DatabasePath, Warnings: o.Warnings,
	})
}

func (s *server) registerStats() {
	register(s, webhook.Viewer, huma.Operation{
		OperationID: "show-stats", Method: http.MethodGet, Path: api.Prefix + "/stats", Tags: []string{"stats"},
		Summary:     "Show counters, rates, latencies, the queue, and how the subscribers do",
		Description: "The figures are at most a second old, the sums of the last day five.",
	}, s.showStats)
}

func (s *server) showStats(ctx context.Context, _ *struct{}) (*answer[api.Stats], error) {
	stats, err := s.board.Stats(ctx, time.Now())
	if err != nil {
		return nil, err
	}
	stats.Role = roleOf(ctx)
	return &answer[api.Stats]{stats}, nil
}
