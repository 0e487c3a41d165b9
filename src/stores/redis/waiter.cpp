#include "stores/redis/waiter.hpp"

#include <algorithm>
#include <vector>

#include "stores/redis/keys.hpp"

namespace tidemill::redis_store {

namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

/// How long one look at Redis may take.
constexpr auto look_max = 2s;
/// How often what is waited for is looked at again, in case a message was lost.
constexpr auto look_again = 5s;
/// After trouble with a queue's node. Its waits end at their time-outs meanwhile, and their claims say what
/// is wrong.
constexpr auto pause = 200ms;
/// How long a cancel is kept for the beat that brings it: some beats.
constexpr auto cancel_kept = 60s;
/// A wait has an end, and sums with the steady clock don't overflow.
constexpr Duration wait_max = 24h;

std::vector<redis::Command> greeting() {
  return {redis::Command{"CLIENT"}.add("TRACKING").add("ON"),
          redis::Command{"SUBSCRIBE"}.add(signal_channel).add(cancel_channel)};
}

/// The queue of a key such as `asynq:{mail}:pending`; empty for another key.
std::string queue_of(std::string_view key) {
  constexpr std::string_view head = "asynq:{";
  if (!key.starts_with(head)) return {};
  key.remove_prefix(head.size());
  const std::size_t end = key.find("}:");
  return end == key.npos ? std::string{} : std::string{key.substr(0, end)};
}

}  // namespace

Waiter::Waiter(redis::Client& client) : listener_(client, greeting()) {}

Waiter::~Waiter() {
  if (!thread_.joinable()) return;
  thread_.request_stop();
  changed_.notify_all();
  listener_.interrupt();
}

void Waiter::ring(std::string_view queue) {
  const std::lock_guard guard{mutex_};
  rung_.insert_or_assign(std::string{queue}, ++rings_);
  changed_.notify_all();
}

void Waiter::claimed(std::string_view worker, std::uint64_t before) {
  const std::lock_guard guard{mutex_};
  members_[std::string{worker}].seen = before;
}

std::uint64_t Waiter::rings() {
  const std::lock_guard guard{mutex_};
  return rings_;
}

std::optional<Duration> Waiter::cancelled(std::string_view id) {
  const std::lock_guard guard{mutex_};
  const auto found = cancelled_.find(id);
  if (found == cancelled_.end()) return {};
  return std::chrono::duration_cast<Duration>(steady_clock::now() - found->second);
}

Wake Waiter::wait(std::string_view worker, std::span<const std::string_view> queues, Duration timeout,
                  std::stop_token stop) {
  std::unique_lock lock{mutex_};
  if (!thread_.joinable()) thread_ = std::jthread{[this](std::stop_token end) { watch(std::move(end)); }};
  for (const std::string_view queue : queues) ++watched_[std::string{queue}].waiting;
  // The watcher may be asleep in a look at others.
  listener_.interrupt();
  changed_.notify_all();

  const std::string name{worker};
  Wake wake = Wake::timeout;
  const auto look = [&] {
    const Member& member = members_[name];
    wake = Wake::timeout;
    if (member.signals > member.signals_seen) {
      wake = Wake::signals;
    } else if (std::ranges::any_of(queues, [&](std::string_view queue) {
                 const auto rung = rung_.find(queue);
                 return rung != rung_.end() && rung->second > member.seen;
               })) {
      wake = Wake::tasks;
    }
    return wake != Wake::timeout;
  };
  changed_.wait_for(lock, stop, std::clamp(timeout, Duration::zero(), wait_max), look);
  for (const std::string_view queue : queues) {
    const auto watched = watched_.find(queue);
    if (--watched->second.waiting == 0 && watched->second.armed == 0) watched_.erase(watched);
  }
  Member& member = members_[name];
  if (wake == Wake::timeout && stop.stop_requested()) wake = Wake::stopped;
  if (wake == Wake::signals) member.signals_seen = member.signals;
  if (wake == Wake::tasks) member.seen = rings_;
  return wake;
}

std::vector<std::string> Waiter::to_arm() {
  std::vector<std::string> queues;
  for (const auto& [queue, watched] : watched_) {
    if (watched.waiting > 0 && watched.armed == 0) queues.push_back(queue);
  }
  return queues;
}

template <class Condition>
void Waiter::forget(const Condition& condition) {
  for (auto& [queue, watched] : watched_) {
    if (!condition(queue, watched)) continue;
    watched.armed = 0;
    rung_[queue] = ++rings_;
    changed_.notify_all();
  }
  std::erase_if(watched_,
                [](const auto& entry) { return entry.second.waiting == 0 && entry.second.armed == 0; });
}

/// False when some queue's node could not be asked.
bool Waiter::arm(const std::vector<std::string>& queues) {
  std::vector<redis::Command> commands;
  for (const std::string& queue : queues) {
    const std::string prefix = queue_prefix(queue);
    commands.push_back(std::move(redis::Command{"LLEN", prefix + "pending"}.reads()));
    commands.push_back(std::move(redis::Command{"EXISTS", prefix + "paused"}.reads()));
    for (const char* set : {"scheduled", "retry", "x:due"})
      commands.push_back(std::move(redis::Command{"ZCARD", prefix + set}.reads()));
  }
  constexpr std::size_t each = 5;
  const auto replies = listener_.exec(commands, steady_clock::now() + look_max);
  bool all = true;
  const std::lock_guard guard{mutex_};
  const std::uint64_t known = newest_;
  for (std::size_t i = 0; i < queues.size(); ++i) {
    const std::span answers{replies.data() + i * each, each};
    const std::uint64_t generation = listener_.generation(pending_key(queues[i]));
    if (generation == 0 || !std::ranges::all_of(answers, &redis::Reply::ok)) {
      all = false;
      continue;
    }
    watched_[queues[i]].armed = generation;
    newest_ = std::max(newest_, generation);
    const bool paused = answers[1].integer != 0;
    // It may have come before this look, so nobody will say; or, before a new connection, anything.
    if (generation > known || (answers[0].integer > 0 && !paused)) rung_[queues[i]] = ++rings_;
  }
  if (newest_ > known) {
    for (auto& [worker, member] : members_) ++member.signals;
  }
  changed_.notify_all();
  return all;
}

void Waiter::hear(const redis::Reply& message) {
  if (message.items.empty()) return;
  const std::lock_guard guard{mutex_};
  if (message.items[0].text == "invalidate") {
    if (message.items.size() < 2 || message.items[1].items.empty()) {
      return forget([](const auto&, const auto&) { return true; });  // FLUSHALL.
    }
    for (const redis::Reply& key : message.items[1].items) {
      const std::string queue = queue_of(key.text);
      const auto watched = watched_.find(queue);
      if (watched == watched_.end()) continue;
      rung_[queue] = ++rings_;
      watched->second.armed = 0;
      if (watched->second.waiting == 0) watched_.erase(watched);
    }
  } else if (message.items[0].text == "message" && message.items.size() == 3) {
    const std::string& text = message.items[2].text;
    if (message.items[1].text == signal_channel) {
      ++members_[text].signals;
    } else {
      std::erase_if(cancelled_,
                    [](const auto& entry) { return steady_clock::now() - entry.second > cancel_kept; });
      cancelled_[text] = steady_clock::now();
      for (auto& [worker, member] : members_) ++member.signals;
    }
  }
  changed_.notify_all();
}

void Waiter::watch(std::stop_token stop) {
  auto looked = steady_clock::now();
  const auto cut = [this](const std::string& queue, const Watched& watched) {
    return watched.armed != 0 && watched.armed != listener_.generation(pending_key(queue));
  };
  while (!stop.stop_requested()) {
    std::vector<std::string> queues;
    {
      std::unique_lock lock{mutex_};
      changed_.wait(lock, stop, [&] { return !watched_.empty(); });
      forget(cut);
      if (steady_clock::now() - looked > look_again) {
        looked = steady_clock::now();
        for (auto& [queue, watched] : watched_) watched.armed = 0;
      }
      queues = to_arm();
    }
    if (stop.stop_requested()) return;
    const bool all = queues.empty() || arm(queues);
    const auto message = listener_.receive(steady_clock::now() + (all ? Duration{look_again} : pause));
    if (message) hear(*message);
  }
}

}  // namespace tidemill::redis_store
