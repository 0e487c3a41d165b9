#include "stores/mysql/renew.hpp"

#include <map>
#include <tuple>
#include <utility>

#include "stores/mysql/tasks.hpp"

namespace tidemill::mysql_store {

namespace {

constexpr Sql get_signal{"SELECT asked FROM main.worker WHERE id = $1 FOR UPDATE"};
constexpr Sql put_worker{
    "INSERT INTO main.worker (id, host, state, queues, pid, slots, busy, stuck, started_at, beat_at) VALUES "
    "($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON DUPLICATE KEY UPDATE host = $2, state = $3, queues = $4, "
    "pid = $5, slots = $6, busy = $7, stuck = $8, started_at = $9, beat_at = $10, asked = 0"};
constexpr Sql erase_worker{"DELETE FROM main.worker WHERE id = $1"};

constexpr char held[] =
    "$1 AS t STRAIGHT_JOIN main.job j FORCE INDEX (PRIMARY) ON j.seq = t.seq AND j.claim = t.claim AND "
    "j.id = t.id";
constexpr auto extend_text =
    join("UPDATE ", held,
         " SET j.at = $2, j.marked = CASE WHEN t.started THEN TRUE ELSE j.marked END, "
         "j.progress = COALESCE(t.progress, j.progress)");
constexpr Sql extend_jobs{extend_text.data()};
constexpr auto get_held_text = join("SELECT j.seq, j.claim, j.asked, j.logs_kept FROM ", held);
constexpr Sql get_held{get_held_text.data()};
constexpr Sql add_logs{"INSERT INTO main.log (seq, n, text) VALUES $1"};
constexpr Sql count_logs{
    "UPDATE $1 AS t STRAIGHT_JOIN main.job j FORCE INDEX (PRIMARY) ON j.seq = t.seq SET j.logs_kept = t.n"};

constexpr Sql add_stats{
    "INSERT INTO main.stat (span, at, queue, kind, success, failure, crash, busy) VALUES $1 "
    "ON DUPLICATE KEY UPDATE success = success + VALUES(success), failure = failure + VALUES(failure), "
    "crash = crash + VALUES(crash), busy = busy + VALUES(busy)"};

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
  Table table{"seq", "claim", "id", "started", "progress"};
  for (const auto& [place, sum] : sums) {
    table.add(place.first, place.second, Blob{stored_id(sum.beat->lease->task.ref.id)}, sum.started,
              sum.progress ? std::optional{Blob{*sum.progress}} : std::nullopt);
  }
  batch.add(extend_jobs, table, stored(until));
  batch.add(get_held, table);
}

void tell_logs(Write& write, std::span<const Beat> beats, std::map<Place, Held>& leases) {
  Rows rows;
  std::map<std::int64_t, std::int64_t> counts;
  for (const Beat& beat : beats) {
    const auto place = place_of(beat);
    const auto found = place ? leases.find(*place) : leases.end();
    if (beat.logs.empty() || found == leases.end()) continue;
    const std::int64_t n = ++found->second.logs_kept;
    rows.add(place->first, n, Blob{write_lines(beat.logs)});
    counts[place->first] = n;
  }
  if (rows.empty()) return;
  write.tell(add_logs, rows);
  Table table{"seq", "n"};
  for (const auto& [seq, n] : counts) table.add(seq, n);
  write.tell(count_logs, table);
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
  Rows rows;
  for (const auto& [place, sum] : sums) {
    rows.add(std::get<0>(place), std::get<1>(place), std::get<2>(place), std::get<3>(place), sum.success,
             sum.failure, sum.crash, stored(sum.busy));
  }
  write.tell(add_stats, rows);
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
  std::map<Place, Held> leases;
  while (told.size() > 1 && told[2].step()) {
    leases[{told[2].integer(0), told[2].integer(1)}] = {static_cast<Signal>(told[2].integer(2)),
                                                        told[2].integer(3)};
  }
  for (const Beat& beat : beats) {
    const auto place = place_of(beat);
    const auto found = place ? leases.find(*place) : leases.end();
    answer.leases.push_back(found == leases.end() ? Signal::lost : found->second.signal);
  }
  tell_worker(write, worker, now);
  tell_logs(write, beats, leases);
  tell_stats(write, sums);
  return answer;
}

}  // namespace tidemill::mysql_store
