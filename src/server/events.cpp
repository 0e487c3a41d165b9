#include "server/events.hpp"

#include <algorithm>
#include <array>
#include <charconv>

#include <fmt/format.h>

#include <tidemill/version.hpp>

#include "core/uuid.hpp"
#include "server/logs.hpp"
#include "server/queue_view.hpp"
#include "wire/admin_json.hpp"
#include "wire/task_json.hpp"

namespace tidemill::server {

namespace {

using namespace std::chrono_literals;

constexpr auto look_every = 1s;
constexpr auto beat_every = 15s;
constexpr std::size_t ring_max = 1024;
constexpr std::size_t listeners_max = 10'000;
constexpr std::size_t topics_max = 50;
/// Of what waits for one reader.
constexpr std::size_t waiting_max = 256U << 10U;
const std::vector<std::string> plain_topics = {"stats", "queues",    "schedule", "worker",
                                               "op",    "attention", "store"};

std::set<std::string> read_topics(std::string_view text) {
  std::set<std::string> topics;
  while (!text.empty()) {
    const std::string topic{text.substr(0, text.find(','))};
    text.remove_prefix(std::min(topic.size() + 1, text.size()));
    const bool known = std::ranges::find(plain_topics, topic) != plain_topics.end() ||
                       (topic.starts_with("task:") && topic.size() > 5) ||
                       (topic.starts_with("log:") && topic.size() > 4);
    if (!known) {
      throw Problem{400, "invalid",
                    fmt::format("there is no topic \"{}\"; there are {}, task:ID and log:ID", topic,
                                wire::either(plain_topics))};
    }
    topics.insert(topic);
  }
  if (topics.empty()) throw Problem{400, "invalid", "say what to tell of: ?topics=stats,queues"};
  if (topics.size() > topics_max)
    throw Problem{400, "invalid", fmt::format("ask for at most {} topics", topics_max)};
  return topics;
}

}  // namespace

struct Events::Listener {
  Caller caller;
  std::set<std::string> topics;
  std::shared_ptr<http::Stream> stream;
};

Events::Events(Service& service, const Operations& operations)
    : service_(service),
      operations_(operations),
      boot_(fmt::format("{:08x}", random_bits() >> 32U)),
      thread_([this] {
        pthread_setname_np(pthread_self(), "tm-api-events");
        loop();
      }) {}

Events::~Events() { close(); }

void Events::close() {
  {
    const std::lock_guard lock{mutex_};
    closed_ = true;
    for (const auto& each : listeners_) {
      each->stream->write("event: bye\ndata: {\"reason\":\"shutdown\",\"retry_ms\":2000}\n\n");
      each->stream->end();
    }
    listeners_.clear();
  }
  wakes_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void Events::add_routes(Routes& routes) {
  routes.add({.method = "GET",
              .pattern = "/api/v1/events",
              .summary =
                  "Changes as they happen, as server-sent events; topics: stats, queues, schedule, worker, "
                  "op (operations), attention, store, task:ID, log:ID",
              .roles = viewers,
              .all_queues = true,
              .parameters = {"topics"},
              .handle = [this](const Ask& ask) { return open(ask); }});
}

std::string Events::text_of(const Event& event) const {
  return fmt::format("id: {}-{}\nevent: {}\ndata: {}\n\n", boot_, event.number, event.name, event.data);
}

http::Response Events::open(const Ask& ask) {
  const auto listener = std::make_shared<Listener>(ask.caller, read_topics(ask.parameter("topics")),
                                                   std::make_shared<http::Stream>(waiting_max));
  std::string begin =
      fmt::format("retry: 2000\nevent: hello\ndata: {}\n\n", wire::object([&](json::Writer& writer) {
                    writer.member("boot", boot_);
                    writer.member("version", version());
                    wire::member_time(writer, "time", service_.inspector.now());
                  }));
  const std::lock_guard lock{mutex_};
  if (closed_) throw Problem{503, "shutting_down", "the server is stopping"};
  if (listeners_.size() >= listeners_max)
    throw Problem{429, "too_many_streams", fmt::format("there are {} streams already", listeners_max)};
  // Where the reader has been: "BOOT-NUMBER".
  std::string_view seen = ask.request->header("last-event-id");
  if (!seen.empty()) {
    std::uint64_t number = 0;
    const bool ours = seen.starts_with(boot_ + "-");
    if (ours) {
      seen.remove_prefix(boot_.size() + 1);
      std::from_chars(seen.data(), seen.data() + seen.size(), number);
    }
    if (!ours || number + 1 < (ring_.empty() ? next_ : ring_.front().number)) {
      begin += "event: reset\ndata: {\"reason\":\"missed\"}\n\n";
    } else {
      for (const Event& event : ring_) {
        if (event.number > number && listener->topics.contains(event.topic)) begin += text_of(event);
      }
    }
  }
  listeners_.push_back(listener);
  wakes_.notify_one();
  return {200, "text/event-stream", {{"Cache-Control", "no-store"}}, std::move(begin), listener->stream};
}

void Events::loop() {
  auto last_beat = std::chrono::steady_clock::now();
  while (true) {
    {
      std::unique_lock lock{mutex_};
      wakes_.wait(lock, [this] { return closed_ || !listeners_.empty(); });
      if (closed_) return;
    }
    try {
      look();
      tell_if_changed("store", "store", R"({"reachable":true})");
    } catch (const Error& error) {
      service_.log.warning("events wait for the store", {{"error", error.what()}});
      tell_if_changed("store", "store", wire::object([&](json::Writer& writer) {
                        writer.member("reachable", false);
                        writer.member("why", error.what());
                      }));
    }
    if (std::chrono::steady_clock::now() - last_beat >= beat_every) {
      last_beat = std::chrono::steady_clock::now();
      beat();
    }
    std::unique_lock lock{mutex_};
    wakes_.wait_for(lock, look_every, [this] { return closed_; });
  }
}

void Events::beat() {
  const std::lock_guard lock{mutex_};
  std::erase_if(listeners_, [](const auto& each) { return !each->stream->write(": still here\n\n"); });
}

void Events::tell(const std::string& topic, const std::string& name, std::string data) {
  const std::lock_guard lock{mutex_};
  ring_.push_back({next_++, topic, name, std::move(data)});
  if (ring_.size() > ring_max) ring_.pop_front();
  const std::string text = text_of(ring_.back());
  std::erase_if(listeners_, [&](const auto& each) {
    return each->topics.contains(topic) ? !each->stream->write(text) : each->stream->over();
  });
}

void Events::tell_if_changed(const std::string& topic, const std::string& name, std::string data) {
  std::string& last = last_[topic];
  if (last == data) return;
  last = data;
  tell(topic, name, std::move(data));
}

void Events::look() {
  const Snapshot now{.now = service_.inspector.now(),
                     .queues = service_.inspector.queues(),
                     .workers = service_.inspector.workers(),
                     .schedules = service_.inspector.schedules()};
  look_at_queues(now);
  look_at_lists(now);
  look_at_attention(now);
  look_at_operations();
  look_at_tasks();
  look_at_logs(now);
}

void Events::look_at_queues(const Snapshot& now) {
  std::uint64_t backlog = 0;
  Duration oldest{};
  std::string changed{"["};
  for (const QueueInfo& queue : now.queues) {
    backlog += backlog_of(queue);
    oldest = std::max(oldest, queue.oldest);
    std::string text = wire::object([&](json::Writer& writer) { wire::write_queue_members(writer, queue); });
    std::string& last = last_["queue " + queue.name];
    if (last == text) continue;
    last = text;
    changed += (changed.size() > 1 ? "," : "") + text;
  }
  if (changed.size() > 1) tell("queues", "queues", changed + "]");
  tell_if_changed("stats", "stats", wire::object([&](json::Writer& writer) {
                    writer.member("backlog", backlog);
                    writer.member("oldest_ms",
                                  std::chrono::floor<std::chrono::seconds>(oldest).count() * 1000);
                  }));
}

void Events::look_at_lists(const Snapshot& now) {
  tell_if_changed("worker", "worker", list_of(now.workers, wire::write_worker));
  tell_if_changed("schedule", "schedule", list_of(now.schedules, wire::write_schedule));
}

/// The words have times and counts in them; only what they are about is compared.
void Events::look_at_attention(const Snapshot& now) {
  const auto findings = not_fine(examine(now));
  std::string about;
  for (const Finding& each : findings) about += fmt::format("{} {}\n", each.code, each.target);
  std::string& last = last_["attention"];
  if (last == about) return;
  last = about;
  tell("attention", "attention", list_of(findings, write_attention));
}

std::map<std::string, Caller> Events::listening_to(std::string_view begin) {
  std::map<std::string, Caller> wanted;
  const std::lock_guard lock{mutex_};
  for (const auto& listener : listeners_) {
    for (const std::string& topic : listener->topics) {
      if (topic.starts_with(begin)) wanted.emplace(topic, listener->caller);
    }
  }
  return wanted;
}

void Events::look_at_operations() {
  if (listening_to("op").empty()) {
    under_way_.clear();
    std::erase_if(last_, [](const auto& each) { return each.first.starts_with("op "); });
    return;
  }
  // One that has ended since the last look is told of once more.
  auto [under_way, all] = operations_.under_way(under_way_);
  under_way_ = std::move(under_way);
  for (const auto& [id, text] : all) {
    std::string& last = last_["op " + id];
    if (last == text) continue;
    last = text;
    tell("op", "op", text);
  }
}

/// Attempts hand their lines in when they end, so these come in one go.
void Events::look_at_logs(const Snapshot& now) {
  const auto wanted = listening_to("log:");
  std::erase_if(lines_told_, [&](const auto& each) { return !wanted.contains(each.first); });
  if (wanted.empty()) return;
  for (const auto& [topic, caller] : wanted) {
    const bool first = !lines_told_.contains(topic);
    std::int64_t& told = lines_told_[topic];
    for (const QueueInfo& queue : now.queues) {
      const Ref ref{queue.name, topic.substr(4)};
      if (!caller.may_use(queue.name)) continue;
      const auto attempts = service_.inspector.attempts(ref);
      std::vector<Logged> lines = lines_of(attempts);
      std::erase_if(lines, [&](const Logged& each) { return each.seq <= told; });
      if (lines.empty()) continue;
      told = lines.back().seq;
      // What was there before is at /logs.
      if (first) continue;
      tell(topic, "log", wire::object([&](json::Writer& writer) {
             writer.member("id", ref.id);
             writer.member("queue", ref.queue);
             writer.key("lines");
             wire::write_array(writer, lines, write_logged);
           }));
    }
  }
}

void Events::look_at_tasks() {
  const auto wanted = listening_to("task:");
  std::erase_if(last_, [&](const auto& each) {
    return each.first.starts_with("task:") && !wanted.contains(each.first);
  });
  if (wanted.empty()) return;
  for (const QueueInfo& queue : service_.inspector.queues()) {
    std::vector<Ref> refs;
    for (const auto& [topic, caller] : wanted) {
      if (caller.may_use(queue.name)) refs.push_back({queue.name, topic.substr(5)});
    }
    for (const auto& task : service_.inspector.tasks(refs)) {
      if (!task) continue;
      tell_if_changed("task:" + task->ref.id, "task", wire::object([&](json::Writer& writer) {
                        wire::write_task_members(writer, *task, wire::Detail::brief);
                      }));
    }
  }
}

}  // namespace tidemill::server
