#include "stores/postgres/renew.hpp"

#include <map>
#include <tuple>
#include <utility>

#include "stores/postgres/tasks.hpp"

namespace tidemill::postgres_store {

namespace {

constexpr Sql get_signal{"SELECT signal FROM main.tidemill_worker WHERE id = $1 FOR UPDATE"};
constexpr Sql put_worker{
    "INSERT INTO main.tidemill_worker (id, host, state, queues, pid, slots, busy, stuck, started_at, "
    "beat_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (id) DO UPDATE SET "
    "host = excluded.host, state = excluded.state, queues = excluded.queues, pid = excluded.pid, "
    "slots = excluded.slots, busy = excluded.busy, stuck = excluded.stuck, "
    "started_at = excluded.started_at, beat_at = excluded.beat_at, signal = 0"};
constexpr Sql erase_worker{"DELETE FROM main.tidemill_worker WHERE id = $1"};

constexpr Sql extend_jobs{
    "UPDATE main.tidemill_job j SET at = $6, marked = CASE WHEN t.started THEN true ELSE j.marked END, "
    "progress = CASE WHEN t.progress IS NULL THEN j.progress ELSE t.progress END FROM unnest($1::bigint[], "
    "$2::bigint[], $3::bytea[], $4::boolean[], $5::bytea[]) AS t(seq, claim, id, started, progress) "
    "WHERE j.seq = t.seq AND j.claim = t.claim AND j.id = t.id RETURNING j.seq, j.claim, j.signal, "
    "j.logs_kept"};
constexpr Sql add_logs{
    "INSERT INTO main.tidemill_log (seq, n, lines) SELECT * FROM unnest($1::bigint[], $2::bigint[], "
    "$3::bytea[])"};
constexpr Sql count_logs{
    "UPDATE main.tidemill_job j SET logs_kept = t.n FROM unnest($1::bigint[], $2::bigint[]) AS t(seq, n) "
    "WHERE j.seq = t.seq"};

constexpr Sql add_stats{
    "INSERT INTO main.tidemill_stat AS s (span, at, queue, kind, success, failure, crash, busy) "
    "SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], "
    "$6::bigint[], $7::bigint[], $8::bigint[]) ON CONFLICT (span, at, queue, kind) DO UPDATE SET "
    "success = s.success + excluded.success, failure = s.failure + excluded.failure, "
    "crash = s.crash + excluded.crash, busy = s.busy + excluded.busy"};

void tell_worker(Write& write, const WorkerInfo& worker, TimePoint now) {
  if (worker.state == "gone") {
    write.tell(erase_worker, Blob{worker.id});
    return;
  }
  std::map<std::string, std::string> queues;
  for (const auto& [name, weight] : worker.queues) queues[name] = std::to_string(weight);
  write.tell(put_worker, Blob{worker.id}, Blob{worker.host}, Blob{worker.state}, Blob{write_map(queues)},
             worker.pid, worker.slots, worker.busy, worker.stuck, stored(worker.started_at), stored(now));
}

using Place = std::pair<std::int64_t, std::int64_t>;  ///< A lease: its row and its claim.

std::optional<Place> place_of(const Beat& beat) {
  const auto token = beat.lease == nullptr ? std::nullopt : parse_token(beat.lease->token);
  return token ? std::optional{Place{token->seq, token->claim}} : std::nullopt;
}

/// A lease as the store knows it.
struct Held {
  Signal signal = Signal::none;
  std::int64_t logs_kept = 0;
};

/// What extends the leases, in the order in which everybody locks rows; a beat whose token is none has none.
void add_beats(std::span<const Beat> beats, TimePoint until, Batch& batch) {
  struct Sum {
    const Beat* beat = nullptr;
    bool started = false;
    std::optional<std::string_view> progress = {};
  };
  std::map<Place, Sum> sums;  // A lease may beat twice.
  for (const Beat& beat : beats) {
    const auto place = place_of(beat);
    if (!place) continue;
    Sum& sum = sums[*place];
    sum.beat = &beat;
    sum.started = sum.started || beat.started;
    if (beat.progress) sum.progress = *beat.progress;
  }
  if (sums.empty()) return;
  Array<std::int64_t> seqs, claims;
  Array<Blob> ids, progress;
  Array<bool> started;
  for (const auto& [place, sum] : sums) {
    seqs.add(place.first);
    claims.add(place.second);
    ids.add(Blob{stored_id(sum.beat->lease->task.ref.id)});
    started.add(sum.started);
    progress.add(sum.progress ? std::optional{Blob{*sum.progress}} : std::nullopt);
  }
  batch.add(extend_jobs, seqs, claims, ids, started, progress, stored(until));
}

void tell_logs(Write& write, std::span<const Beat> beats, std::map<Place, Held>& held) {
  Array<std::int64_t> seqs, ns;
  Array<Blob> lines;
  std::map<std::int64_t, std::int64_t> counts;
  for (const Beat& beat : beats) {
    const auto place = place_of(beat);
    const auto found = place ? held.find(*place) : held.end();
    if (beat.logs.empty() || found == held.end()) continue;
    const std::int64_t n = ++found->second.logs_kept;
    seqs.add(place->first);
    ns.add(n);
    lines.add(Blob{write_lines(beat.logs)});
    counts[place->first] = n;
  }
  if (seqs.empty()) return;
  write.tell(add_logs, seqs, ns, lines);
  Array<std::int64_t> counted, last;
  for (const auto& [seq, n] : counts) {
    counted.add(seq);
    last.add(n);
  }
  write.tell(count_logs, counted, last);
}

/// By span, time, queue and kind: in one order everywhere, so that no two wait for each other.
using Sums = std::map<std::tuple<std::int64_t, std::int64_t, std::int64_t, std::int64_t>, Stat>;

Sums sum_up(Write& write, std::span<const Stat> stats) {
  using namespace std::chrono;
  Sums sums;
  for (const Stat& stat : stats) {
    const std::int64_t queue = write.intern_queue(stat.queue);
    const std::int64_t kind = write.intern_kind(stat.kind);
    const auto add_to = [&](Span span, TimePoint at) {
      Stat& sum = sums[{static_cast<std::int64_t>(span), stored(at), queue, kind}];
      sum.success += stat.success;
      sum.failure += stat.failure;
      sum.crash += stat.crash;
      sum.busy += stat.busy;
    };
    add_to(Span::minute, floor<minutes>(stat.at));
    add_to(Span::day, floor<days>(stat.at));
  }
  return sums;
}

void tell_stats(Write& write, const Sums& sums) {
  if (sums.empty()) return;
  Array<std::int64_t> spans, ats, queues, kinds, successes, failures, crashes, busy;
  for (const auto& [place, sum] : sums) {
    spans.add(std::get<0>(place));
    ats.add(std::get<1>(place));
    queues.add(std::get<2>(place));
    kinds.add(std::get<3>(place));
    successes.add(static_cast<std::int64_t>(sum.success));
    failures.add(static_cast<std::int64_t>(sum.failure));
    crashes.add(static_cast<std::int64_t>(sum.crash));
    busy.add(stored(sum.busy));
  }
  write.tell(add_stats, spans, ats, queues, kinds, successes, failures, crashes, busy);
}

}  // namespace

Renewed renew_leases(Write& write, const WorkerInfo& worker, std::span<const Beat> beats, Duration lease,
                     std::span<const Stat> stats, TimePoint now) {
  const Sums sums = sum_up(write, stats);  // Names are made before the transaction begins.
  Batch batch;
  batch.add(get_signal, Blob{worker.id});
  add_beats(beats, now + lease, batch);
  auto told = write.ask_all(std::move(batch));
  Renewed answer;
  if (told[0].step()) answer.worker = static_cast<Signal>(told[0].integer(0));
  std::map<Place, Held> held;
  while (told.size() > 1 && told[1].step()) {
    held[{told[1].integer(0), told[1].integer(1)}] = {static_cast<Signal>(told[1].integer(2)),
                                                      told[1].integer(3)};
  }
  for (const Beat& beat : beats) {
    const auto place = place_of(beat);
    const auto found = place ? held.find(*place) : held.end();
    answer.leases.push_back(found == held.end() ? Signal::lost : found->second.signal);
  }
  tell_worker(write, worker, now);
  tell_logs(write, beats, held);
  tell_stats(write, sums);
  return answer;
}

}  // namespace tidemill::postgres_store
