#include "stores/postgres/bell.hpp"

#include <algorithm>
#include <charconv>
#include <span>
#include <vector>

#include <fmt/format.h>

#include <tidemill/error.hpp>

#include "core/uuid.hpp"
#include "stores/postgres/claim.hpp"
#include "stores/postgres/database.hpp"

namespace tidemill::postgres_store {

namespace {

using namespace std::chrono_literals;

/// At least so long between two messages of a process: PostgreSQL commits them one after the other.
constexpr auto message_interval = 3ms;
/// A message has 8,000 bytes at most.
constexpr std::size_t message_max = 7900;
/// How often to look where messages come, for what is lost of them; and where none do, from the first to the
/// second the longer nothing happens.
constexpr auto look_hearing = std::chrono::microseconds{2s};
constexpr auto look_soon = std::chrono::microseconds{10ms};
constexpr auto look_late = std::chrono::microseconds{250ms};
constexpr auto look_slowly = std::chrono::microseconds{10s};
/// And never so often that it takes more than a twentieth of the time, up to these limits.
constexpr int look_share = 20;
constexpr auto look_time = 2s;
constexpr auto connect_time = 5s;
constexpr auto retry_least = 100ms;
constexpr auto retry_most = std::chrono::milliseconds{10s};
constexpr auto heard_interval = 30s;

// That it is on the disk means nothing here.
constexpr Sql no_sync{"SELECT set_config('synchronous_commit', 'off', true)"};
constexpr Sql notify{"SELECT pg_notify($1, $2)::text"};
constexpr Sql own_process{"SELECT pg_backend_pid()"};
constexpr Sql get_signals{"SELECT value FROM main.tidemill_meta WHERE name = 'signals'"};
// Of each queue, whether any is pending, and when the first is due; 2 is pending: stores/sql/layout.hpp.
constexpr auto look_text = join(
    "SELECT q.id, EXISTS (SELECT 1 FROM main.tidemill_job j WHERE j.line >= (q.id::bigint << 16 | 512) AND "
    "j.line <= (q.id::bigint << 16 | 767) ORDER BY j.line, j.at, j.seq LIMIT 1), least(",
    first_dues, ") FROM main.tidemill_queue q WHERE NOT q.paused");
constexpr Sql look_at_queues{look_text.data()};

std::string hex(std::string_view bytes) {
  std::string text;
  for (const char c : bytes)
    fmt::format_to(std::back_inserter(text), "{:02x}", static_cast<unsigned char>(c));
  return text;
}

std::string from_hex(std::string_view digits) {
  std::string bytes;
  for (std::size_t at = 0; at + 1 < digits.size(); at += 2) {
    unsigned value = 0;
    std::from_chars(digits.data() + at, digits.data() + at + 2, value, 16);
    bytes += static_cast<char>(value);
  }
  return bytes;
}

void add(News& to, News more) {
  for (auto& [name, queue] : more.queues) {
    auto& there = to.queues[name];
    there.ready = there.ready || queue.ready;
    if (queue.due) there.due = std::min(there.due.value_or(*queue.due), *queue.due);
  }
  for (std::string& worker : more.workers) {
    if (std::ranges::find(to.workers, worker) == to.workers.end()) to.workers.push_back(std::move(worker));
  }
}

bool empty(const News& news) { return news.queues.empty() && news.workers.empty(); }

}  // namespace

std::string bell_message(std::string_view sender, const std::map<std::int64_t, News::Queue>& queues,
                         std::span<const std::string> workers) {
  std::string message{sender};
  for (const auto& [number, queue] : queues) {
    if (queue.ready) message += fmt::format(" q{}", number);
    if (queue.due) message += fmt::format(" d{}:{}", number, stored(*queue.due));
  }
  for (const std::string& worker : workers) message += " w" + hex(worker);
  return message.size() <= message_max ? message : std::string{sender} + " *";
}

Bell::Bell(postgres::Options server, std::string channel, Naming& naming, Hub& hub)
    : server_(std::move(server)),
      channel_(std::move(channel)),
      self_(fmt::format("{:016x}", random_bits())),
      naming_(naming),
      hub_(hub) {}

Bell::~Bell() {
  sender_.request_stop();
  hearer_.request_stop();
  {
    const std::lock_guard lock{mutex_};
    if (listener_ != nullptr) listener_->wake();
  }
  changed_.notify_all();
}

void Bell::tell(News news) {
  if (empty(news)) return;
  pause_ = 0;
  const std::lock_guard lock{mutex_};
  add(news_, std::move(news));
  if (!sender_.joinable()) sender_ = std::jthread{[this](const std::stop_token& stop) { send_all(stop); }};
  changed_.notify_all();
}

void Bell::listen() {
  if (server_.sessions) return;  // Another library's connection can't say what it hears.
  const std::lock_guard lock{mutex_};
  if (!hearer_.joinable()) hearer_ = std::jthread{[this](const std::stop_token& stop) { listen_all(stop); }};
}

std::chrono::microseconds Bell::look() {
  const auto start = std::chrono::steady_clock::now();
  try {
    look_around();
  } catch (const std::exception&) {
    // The claims of those who wait meet the same, and have somebody to tell.
    const std::lock_guard lock{looks_};
    looker_.reset();
  }
  // Old rows that a long transaction keeps make it slow (fronts.hpp).
  const auto took = std::chrono::ceil<std::chrono::microseconds>(std::chrono::steady_clock::now() - start);
  if (hears_) return std::clamp(look_share * took, look_hearing, look_slowly);
  const auto next = std::clamp(std::chrono::microseconds{pause_ * 3 / 2}, look_soon, look_late);
  pause_ = next.count();
  return std::clamp(look_share * took, next, look_hearing);
}

void Bell::look_around() {
  const std::lock_guard lock{looks_};
  const auto until = Steady::now() + look_time;
  if (!looker_ || !looker_->usable())
    looker_ = std::make_unique<postgres::Connection>(server_, "tidemill bell", until);
  looker_->give_up_at(until);
  Batch batch;
  batch.add(plan_by_index);
  batch.add(get_signals);
  batch.add(look_at_queues);
  auto answers = looker_->send(batch, postgres::Scope::whole);
  if (answers[1].step()) {
    const std::int64_t signals = answers[1].integer(0);
    if (signals_ && *signals_ != signals) hub_.foreign(true);
    signals_ = signals;
  }
  News news;
  for (Query& row = answers[2]; row.step();) {
    auto& queue = news.queues[naming_.name(*looker_, NameTable::queue, row.integer(0))];
    queue.ready = row.boolean(1);
    queue.due = time_of(row.optional_integer(2));
  }
  hub_.publish(news);
}

bool Bell::pause(const std::stop_token& stop, std::chrono::milliseconds time) {
  std::unique_lock lock{mutex_};
  changed_.wait_for(lock, stop, time, [] { return false; });
  return !stop.stop_requested();
}

void Bell::send_all(const std::stop_token& stop) {
  std::unique_ptr<postgres::Connection> db;
  for (;;) {
    News news;
    {
      std::unique_lock lock{mutex_};
      changed_.wait(lock, stop, [&] { return !empty(news_); });
      if (empty(news_)) return;  // Stopped.
      news = std::exchange(news_, {});
    }
    try {
      const auto until = Steady::now() + (stop.stop_requested() ? 1s : connect_time);
      if (!db || !db->usable()) db = std::make_unique<postgres::Connection>(server_, "tidemill bell", until);
      db->give_up_at(until);
      send(*db, news);
    } catch (const std::exception&) {
      db.reset();  // Who waits looks by himself before long.
    }
    if (!stop.stop_requested()) pause(stop, message_interval);
  }
}

void Bell::send(postgres::Connection& db, const News& news) {
  const std::string message = message_of(db, news);
  Batch batch;
  batch.add(no_sync);
  batch.add(notify, std::string_view{channel_}, std::string_view{message});
  db.send(batch, postgres::Scope::whole);
}

std::string Bell::message_of(postgres::Connection& db, const News& news) {
  std::map<std::int64_t, News::Queue> queues;
  for (const auto& [name, queue] : news.queues) {
    if (const auto number = naming_.find(db, NameTable::queue, name)) queues[*number] = queue;
  }
  return bell_message(self_, queues, news.workers);
}

void Bell::listen_all(const std::stop_token& stop) {
  auto retry = std::chrono::milliseconds{retry_least};
  while (!stop.stop_requested()) {
    try {
      {
        postgres::Connection db{server_, "tidemill bell", Steady::now() + connect_time};
        auto row = db.query(own_process);
        row.step();
        if (row.integer(0) != db.backend()) return;  // A pooler: nobody's LISTEN stays with him there.
      }
      hear(stop);
      retry = retry_least;
    } catch (const postgres::Failure&) {
      hears_ = false;
    }
    if (!pause(stop, retry)) return;
    retry = std::min(2 * retry, retry_most);
  }
}

void Bell::hear(const std::stop_token& stop) {
  postgres::Listener listener{server_, {&channel_, 1}, Steady::now() + connect_time};
  struct Registered {
    Registered(Bell& owner, postgres::Listener& its) : bell(owner) {
      const std::lock_guard lock{bell.mutex_};
      bell.listener_ = &its;
    }
    ~Registered() {
      const std::lock_guard lock{bell.mutex_};
      bell.listener_ = nullptr;
      bell.hears_ = false;
    }
    Registered(const Registered&) = delete;
    Registered& operator=(const Registered&) = delete;
    Bell& bell;
  } const registered{*this, listener};
  hears_ = true;
  look();  // What came before was not heard.
  while (!stop.stop_requested()) {
    for (const postgres::Notification& each : listener.wait(Steady::now() + heard_interval))
      take(each.payload);
  }
}

void Bell::take(std::string_view message) {
  const auto next = [&] {
    const std::size_t end = std::min(message.find(' '), message.size());
    const std::string_view part = message.substr(0, end);
    message.remove_prefix(std::min(end + 1, message.size()));
    return part;
  };
  if (next() == self_) return;
  News news;
  bool unclear = false;
  while (!message.empty()) {
    const std::string_view item = next();
    if (item.size() > 1 && item.front() == 'w') {
      news.workers.push_back(from_hex(item.substr(1)));
      continue;
    }
    std::int64_t number = 0;
    std::int64_t due = 0;
    const char* const end = item.data() + item.size();
    const auto parsed = std::from_chars(item.data() + std::min<std::size_t>(1, item.size()), end, number);
    const std::string* const name = naming_.cache().name(NameTable::queue, number);
    if (name == nullptr) {
      unclear = true;
    } else if (item.front() == 'q') {
      news.queues[*name].ready = true;
    } else if (item.front() == 'd' && parsed.ptr != end &&
               std::from_chars(parsed.ptr + 1, end, due).ec == std::errc{}) {
      news.queues[*name].due = time_of(due);
    } else {
      unclear = true;
    }
  }
  if (unclear) hub_.foreign(true);
  hub_.publish(news);
}

}  // namespace tidemill::postgres_store
