#include "stores/mysql/bell.hpp"

#include <algorithm>
#include <vector>

#include "stores/mysql/claim.hpp"
#include "stores/mysql/plain_sql.hpp"

namespace tidemill::mysql_store {

namespace {

using namespace std::chrono_literals;
using Steady = std::chrono::steady_clock;

/// How often to look, from the first to the second the longer nothing happens.
constexpr auto look_soon = std::chrono::microseconds{10ms};
constexpr auto look_late = std::chrono::microseconds{250ms};
constexpr auto look_time = 2s;

constexpr Sql get_marks{
    "SELECT (SELECT COALESCE(SUM(number), 0) FROM main.session), (SELECT COALESCE(MAX(id), 0) FROM "
    "main.delta), (SELECT value FROM main.meta WHERE name = 'signals')"};
constexpr Sql get_queues{"SELECT id FROM main.queue WHERE NOT paused"};

}  // namespace

std::chrono::microseconds Bell::look() {
  try {
    look_around();
  } catch (const std::exception&) {
    // The claims of those who wait meet the same, and have somebody to tell.
    const std::lock_guard lock{looks_};
    looker_.reset();
  }
  const auto next = std::clamp(std::chrono::microseconds{pause_ * 3 / 2}, look_soon, look_late);
  pause_ = next.count();
  return next;
}

void Bell::look_around() {
  const std::lock_guard lock{looks_};
  const auto until = Steady::now() + look_time;
  if (!looker_ || !looker_->usable())
    looker_ = std::make_unique<mysql::Connection>(server_, "tidemill bell", until);
  looker_->give_up_at(until);
  Batch batch;
  batch.add(get_marks);
  batch.add(any_in_inbox);
  auto answers = looker_->send(batch);
  if (answers[1].step()) {
    stir();
    hub_.foreign(false);
  }
  Query& row = answers[0];
  if (!row.step()) return;
  const Marks marks{row.integer(0), row.integer(1), row.integer(2)};
  if (seen_ == marks) return;
  if (seen_ && seen_->signals != marks.signals) hub_.foreign(true);
  seen_ = marks;
  stir();
  look_at_queues();
}

void Bell::look_at_queues() {
  std::vector<std::int64_t> queues;
  Batch batch;
  for (auto row = looker_->query(get_queues); row.step();) {
    const std::int64_t queue = row.integer(0);
    queues.push_back(queue);
    add_look(batch, queue);
  }
  if (queues.empty()) return;
  auto answers = looker_->send(batch);
  News news;
  for (std::size_t i = 0; i < queues.size(); ++i) {
    Query& row = answers[i];
    if (!row.step() || row.boolean(0)) continue;
    auto& queue = news.queues[naming_.name(*looker_, NameTable::queue, queues[i])];
    queue.ready = row.boolean(1);
    for (const int column : {2, 3}) {
      const auto due = time_of(row.optional_integer(column));
      if (due) queue.due = std::min(queue.due.value_or(*due), *due);
    }
  }
  hub_.publish(news);
}

}  // namespace tidemill::mysql_store
