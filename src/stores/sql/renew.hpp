#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <tidemill/store.hpp>

#include "stores/sql/columns.hpp"
#include "stores/sql/layout.hpp"
#include "stores/sql/statements.hpp"
#include "stores/sql/write.hpp"

/// What a worker tells now and then: that it lives, which leases it holds, and what it has done.
namespace tidemill::sql_store {

template <class Database>
void tell_worker(Write<Database>& write, const WorkerInfo& worker, TimePoint now) {
  if (worker.state == "gone") {
    write.tell(Database::renewal.erase_worker, Blob{worker.id});
    return;
  }
  std::map<std::string, std::string> queues;
  for (const auto& [name, weight] : worker.queues) queues[name] = std::to_string(weight);
  write.tell(Database::renewal.put_worker, Blob{worker.id}, Blob{worker.host}, Blob{worker.state},
             Blob{write_map(queues)}, worker.pid, worker.slots, worker.busy, worker.stuck,
             stored(worker.started_at), stored(now));
}

using LeasePlace = std::pair<std::int64_t, std::int64_t>;  ///< Its row and its claim.

inline std::optional<LeasePlace> place_of(const Beat& beat) {
  const auto token = beat.lease == nullptr ? std::nullopt : parse_token(beat.lease->token);
  return token ? std::optional{LeasePlace{token->seq, token->claim}} : std::nullopt;
}

/// A lease as the store knows it.
struct HeldLease {
  Signal signal = Signal::none;
  std::int64_t logs_kept = 0;
};

/// What extends the leases, in the order in which everybody locks rows; a beat whose token is none has none.
template <class Database>
void add_beats(std::span<const Beat> beats, TimePoint until, typename Database::Batch& batch) {
  struct Sum {
    const Beat* beat = nullptr;
    bool started = false;
    std::optional<std::string_view> progress = {};
  };
  std::map<LeasePlace, Sum> sums;  // A lease may beat twice.
  for (const Beat& beat : beats) {
    const auto place = place_of(beat);
    if (!place) continue;
    Sum& sum = sums[*place];
    sum.beat = &beat;
    sum.started = sum.started || beat.started;
    if (beat.progress) sum.progress = *beat.progress;
  }
  if (sums.empty()) return;
  Extensions<Database::template Table> table;
  for (const auto& [place, sum] : sums) {
    table.add(place.first, place.second, Blob{stored_id(sum.beat->lease->task.ref.id)}, sum.started,
              sum.progress ? std::optional{Blob{*sum.progress}} : std::nullopt);
  }
  Database::add_extension(batch, table, until);
}

template <class Database>
void tell_logs(Write<Database>& write, std::span<const Beat> beats, std::map<LeasePlace, HeldLease>& leases) {
  typename Database::template Rows<Number<"seq">, Number<"n">, Bytes<"lines">> rows;
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
  write.tell(Database::renewal.add_logs, rows);
  typename Database::template Table<Number<"seq">, Number<"n">> table;
  for (const auto& [seq, n] : counts) table.add(seq, n);
  write.tell(Database::renewal.count_logs, table);
}

/// By span, time, queue and kind: in one order everywhere, so that no two wait for each other.
using StatSums = std::map<std::tuple<std::int64_t, std::int64_t, std::int64_t, std::int64_t>, Stat>;

template <class Database>
StatSums sum_up(Write<Database>& write, std::span<const Stat> stats) {
  StatSums sums;
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
    add_to(Span::minute, std::chrono::floor<std::chrono::minutes>(stat.at));
    add_to(Span::day, std::chrono::floor<std::chrono::days>(stat.at));
  }
  return sums;
}

template <class Database>
void tell_stats(Write<Database>& write, const StatSums& sums) {
  if (sums.empty()) return;
  typename Database::template Rows<Number<"span">, Number<"at">, Number<"queue">, Number<"kind">,
                                   Number<"success">, Number<"failure">, Number<"crash">, Number<"busy">>
      rows;
  for (const auto& [place, sum] : sums) {
    rows.add(std::get<0>(place), std::get<1>(place), std::get<2>(place), std::get<3>(place), sum.success,
             sum.failure, sum.crash, stored(sum.busy));
  }
  write.tell(Database::renewal.add_stats, rows);
}

template <class Database>
Renewed renew_leases(Write<Database>& write, const WorkerInfo& worker, std::span<const Beat> beats,
                     Duration lease, std::span<const Stat> stats, TimePoint now) {
  const StatSums sums = sum_up(write, stats);  // Names are made before the transaction begins.
  typename Database::Batch batch;
  batch.add(Database::renewal.get_signal, Blob{worker.id});
  add_beats<Database>(beats, now + lease, batch);
  auto told = write.ask_all(std::move(batch));
  Renewed answer;
  if (told[0].step()) answer.worker = static_cast<Signal>(told[0].integer(0));
  auto& held = told.back();
  std::map<LeasePlace, HeldLease> leases;
  while (told.size() > 1 && held.step()) {
    leases[{held.integer(0), held.integer(1)}] = {static_cast<Signal>(held.integer(2)), held.integer(3)};
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

}  // namespace tidemill::sql_store
