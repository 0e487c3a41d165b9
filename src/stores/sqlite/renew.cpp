#include "stores/sqlite/renew.hpp"

#include "stores/sqlite/tasks.hpp"

namespace tidemill::sqlite_store {

namespace {

constexpr sqlite::Sql get_signal{"SELECT signal FROM main.tidemill_worker WHERE id = ?1"};
constexpr sqlite::Sql put_worker{
    "INSERT INTO main.tidemill_worker (id, host, state, queues, pid, slots, busy, stuck, started_at, "
    "beat_at) "
    "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT (id) DO UPDATE SET host = excluded.host, "
    "state = excluded.state, queues = excluded.queues, pid = excluded.pid, slots = excluded.slots, "
    "busy = excluded.busy, stuck = excluded.stuck, started_at = excluded.started_at, beat_at = "
    "excluded.beat_at, "
    "signal = 0"};
constexpr sqlite::Sql erase_worker{"DELETE FROM main.tidemill_worker WHERE id = ?1"};

constexpr sqlite::Sql get_lease{
    "SELECT j.id, j.has_run, r.signal, r.logs_kept FROM main.tidemill_job j "
    "LEFT JOIN main.tidemill_run r ON r.seq = j.seq WHERE j.seq = ?1 AND j.claim = ?2"};
constexpr sqlite::Sql extend{"UPDATE main.tidemill_job SET at = ?2 WHERE seq = ?1"};
constexpr sqlite::Sql mark{"UPDATE main.tidemill_run SET marked = 1 WHERE seq = ?1"};
constexpr sqlite::Sql set_progress{"UPDATE main.tidemill_run SET progress = ?2 WHERE seq = ?1"};
constexpr sqlite::Sql count_logs{"UPDATE main.tidemill_run SET logs_kept = ?2 WHERE seq = ?1"};
constexpr sqlite::Sql add_logs{"INSERT INTO main.tidemill_log (seq, n, lines) VALUES (?1, ?2, ?3)"};

constexpr sqlite::Sql add_stat{
    "INSERT INTO main.tidemill_stat (span, at, queue, kind, success, failure, crash, busy) "
    "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (span, at, queue, kind) DO UPDATE SET "
    "success = success + excluded.success, failure = failure + excluded.failure, crash = crash + "
    "excluded.crash, "
    "busy = busy + excluded.busy"};

Signal beat_worker(Write& write, const WorkerInfo& worker, TimePoint now) {
  Signal signal = Signal::none;
  {
    auto row = write.db.query(get_signal, std::string_view{worker.id});
    if (row.step()) signal = static_cast<Signal>(row.integer(0));
  }
  if (worker.state == "gone") {
    write.db.run(erase_worker, std::string_view{worker.id});
    return signal;
  }
  std::map<std::string, std::string> queues;
  for (const auto& [name, weight] : worker.queues) queues[name] = std::to_string(weight);
  const std::string queues_json = write_map(queues);
  write.db.run(put_worker, std::string_view{worker.id}, std::string_view{worker.host},
               std::string_view{worker.state}, std::string_view{queues_json}, worker.pid, worker.slots,
               worker.busy, worker.stuck, stored(worker.started_at), stored(now));
  return signal;
}

Signal beat_lease(Write& write, const Beat& beat, TimePoint until) {
  const auto token = beat.lease == nullptr ? std::nullopt : parse_token(beat.lease->token);
  if (!token) return Signal::lost;
  Row row;
  row.seq = token->seq;
  {
    auto columns = write.db.query(get_lease, token->seq, token->claim);
    if (!columns.step() || id_at(columns, 0) != beat.lease->task.ref.id) return Signal::lost;
    row.has_run = columns.integer(1) != 0;
    row.signal = static_cast<Signal>(columns.integer(2));
    row.logs_kept = columns.integer(3);
  }
  write.db.run(extend, row.seq, stored(until));
  if (beat.started || beat.progress || !beat.logs.empty()) need_run(write, row);
  if (beat.started) write.db.run(mark, row.seq);
  if (beat.progress) write.db.run(set_progress, row.seq, std::string_view{*beat.progress});
  if (!beat.logs.empty()) {
    const std::string lines = write_lines(beat.logs);
    write.db.run(add_logs, row.seq, row.logs_kept + 1, sqlite::Blob{lines});
    write.db.run(count_logs, row.seq, row.logs_kept + 1);
  }
  return row.signal;
}

void add(Write& write, const Stat& stat) {
  using namespace std::chrono;
  const std::int64_t queue = write.intern_queue(stat.queue);
  const std::int64_t kind = write.intern_kind(stat.kind);
  const auto add_to = [&](Span span, TimePoint at) {
    write.db.run(add_stat, span, stored(at), queue, kind, stat.success, stat.failure, stat.crash,
                 stored(stat.busy));
  };
  add_to(Span::minute, floor<minutes>(stat.at));
  add_to(Span::day, floor<days>(stat.at));
}

}  // namespace

Renewed renew_leases(Write& write, const WorkerInfo& worker, std::span<const Beat> beats, Duration lease,
                     std::span<const Stat> stats, TimePoint now) {
  Renewed answer;
  answer.worker = beat_worker(write, worker, now);
  answer.leases.reserve(beats.size());
  for (const Beat& beat : beats) answer.leases.push_back(beat_lease(write, beat, now + lease));
  for (const Stat& stat : stats) add(write, stat);
  return answer;
}

}  // namespace tidemill::sqlite_store
