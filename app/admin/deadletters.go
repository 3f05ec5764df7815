package admin

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/admin/query"
	"github.com/pintle/pintle/app/webhook"
)

// pageSize is how many deliveries or events are read, and dealt with, at once.
const pageSize = 500

// maxNamed is how many wrong ids a fault names.
const maxNamed = 20

func (s *server) registerDeadLetters() {
	tags := []string{"dead letters"}
	const path = api.Prefix + "/dead-letters"
	register(s, webhook.Viewer, huma.Operation{
		OperationID: "list-dead-letters", Method: http.MethodGet, Path: path, Tags: tags,
		Summary: "List dead letters", Description: aboutPages,
	}, s.listDeadLetters)
	register(s, webhook.Viewer, huma.Operation{
		OperationID: "group-dead-letters", Method: http.MethodGet, Path: path + "/groups", Tags: tags,
		Summary: "List dead letters by subscriber and cause, the largest group first",
	}, s.groupDeadLetters)
	replay, purge := body[api.DeadReplay](s), body[api.DeadFilter](s)
	replay.Required, purge.Required = true, true
	register(s, webhook.Operator, huma.Operation{
		OperationID: "replay-dead-letters", Method: http.MethodPost, Path: path + "/replay", Tags: tags,
		Summary: "Send dead letters again", RequestBody: replay,
		Description: "They are pending again, with their whole schedule before them. An empty filter selects all. A replay that is cut short has replayed the newest, and can be repeated.",
	}, s.replayDead)
	register(s, webhook.Administrator, huma.Operation{
		OperationID: "purge-dead-letters", Method: http.MethodDelete, Path: path, Tags: tags,
		Summary: "Delete dead letters with their attempts, for good", RequestBody: purge,
		Description: "Their events stay. An empty filter selects all. A purge that is cut short has deleted the newest, and can be repeated.",
	}, s.purgeDead)
}

func (s *server) listDeadLetters(ctx context.Context, in *deliveryQuery) (*answer[api.List[api.Delivery]], error) {
	filter, faults := query.DeadLetters(in.DeliveryFilter, time.Now(), s.named)
	return s.pageOfDeliveries(ctx, filter, faults, in.PageQuery)
}

func (s *server) groupDeadLetters(ctx context.Context, _ *struct{}) (*answer[api.List[api.DeadGroup]], error) {
	stats, err := s.o.Store.Stats(ctx, webhook.StatsQuery{DeadGroups: true})
	if err != nil {
		return nil, err
	}
	groups := make([]api.DeadGroup, len(stats.DeadGroups))
	for i, g := range stats.DeadGroups {
		groups[i] = api.DeadGroup{
			SubscriberID: g.SubscriberID, Outcome: g.Outcome, Code: g.Code, Fingerprint: valid(g.Fingerprint), Count: g.Count,
			Oldest: api.Time{Time: g.Oldest}, Newest: api.Time{Time: g.Newest},
		}
		if sub, ok := s.o.Dispatcher.Subscriber(g.SubscriberID); ok {
			groups[i].SubscriberName = sub.Name()
		}
	}
	return &answer[api.List[api.DeadGroup]]{api.List[api.DeadGroup]{Items: groups}}, nil
}

func (s *server) replayDead(ctx context.Context, in *bodyInput) (*answer[api.Replayed], error) {
	var replay api.DeadReplay
	faults, err := decode(in.RawBody, &replay)
	if err != nil {
		return nil, err
	}
	every := pace(replay.Rate, faults)
	first := time.Now()
	var replayed api.Replayed
	replayed.Matched, err = s.eachDead(ctx, replay.DeadFilter, faults, func(ids []webhook.DeliveryID) error {
		resent, err := s.o.Dispatcher.Resend(ctx, ids, first.Add(time.Duration(replayed.Replayed)*every), every)
		replayed.Replayed += len(resent)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &answer[api.Replayed]{replayed}, nil
}

func (s *server) purgeDead(ctx context.Context, in *bodyInput) (*answer[api.Purged], error) {
	var filter api.DeadFilter
	faults, err := decode(in.RawBody, &filter)
	if err != nil {
		return nil, err
	}
	var purged api.Purged
	purged.Matched, err = s.eachDead(ctx, filter, faults, func(ids []webhook.DeliveryID) error {
		n, err := s.o.Dispatcher.Purge(ctx, ids)
		purged.Purged += n
		return err
	})
	if err != nil {
		return nil, err
	}
	return &answer[api.Purged]{purged}, nil
}

// eachDead visits the dead letters that are selected, unless they are only to be
// counted, and returns how many there are. The faults are those that were found
// before.
func (s *server) eachDead(ctx context.Context, f api.DeadFilter, faults webhook.FieldsError, visit func([]webhook.DeliveryID) error) (matched int, err error) {
	filter, filterFaults := query.DeadLetters(f.Filter, time.Now(), s.named)
	for name, fault := range filterFaults {
		faults["filter."+name] = fault
	}
	if f.IDs != nil && f.Filter != (api.DeliveryFilter{}) {
		faults["ids"] = "takes the place of a filter; give one of them"
	}
	if len(faults) > 0 {
		return 0, invalidRequest(faults)
	}
	take := func(ids []webhook.DeliveryID) error {
		matched += len(ids)
		if f.DryRun {
			return nil
		}
		return visit(ids)
	}
	if f.IDs != nil {
		err = s.eachNamed(ctx, f.IDs, take)
	} else {
		err = s.eachSelected(ctx, filter, take)
	}
	return matched, err
}

// eachNamed visits the dead letters with these ids. If one of them is none, it
// visits nothing and says so.
func (s *server) eachNamed(ctx context.Context, ids []webhook.DeliveryID, visit func([]webhook.DeliveryID) error) error {
	var dead []webhook.DeliveryID
	var others []string
	seen := map[webhook.DeliveryID]bool{}
	for _, id := range ids {
		if seen[id] {
			continue
		}
		seen[id] = true
		switch d, err := webhook.FindDelivery(ctx, s.o.Store, id); {
		case err == nil && d.State == webhook.Dead:
			dead = append(dead, id)
		case err == nil || problemOf(err).status == http.StatusNotFound:
			others = append(others, string(id))
		default:
			return err
		}
	}
	if len(others) > 0 {
		fault := "these are not dead letters: " + strings.Join(others[:min(len(others), maxNamed)], ", ")
		if more := len(others) - maxNamed; more > 0 {
			fault += fmt.Sprintf(" and %d more", more)
		}
		return invalidRequest(webhook.FieldsError{"ids": fault})
	}
	for len(dead) > 0 {
		n := min(pageSize, len(dead))
		if err := visit(dead[:n]); err != nil {
			return err
		}
		dead = dead[n:]
	}
	return nil
}
