#include "stores/redis/redis_store.hpp"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

#include <tidemill/error.hpp>

#include "drivers/redis/failure.hpp"
#include "stores/redis/keys.hpp"
#include "stores/redis/store_impl.hpp"

namespace tidemill {

namespace {

/// Takes the store's one option of its own out of the URL: archive_max=COUNT. The driver reads all others.
std::optional<std::int64_t> take_archive_max(std::string& url) {
  constexpr std::string_view name = "archive_max=";
  const std::size_t question = url.find('?');
  const std::size_t at = std::min(url.find(name, question), url.size());
  if (question == url.npos || at == url.size() || (url[at - 1] != '?' && url[at - 1] != '&')) return {};
  const std::size_t end = std::min(url.find('&', at), url.size());
  const std::string value = url.substr(at + name.size(), end - at - name.size());
  url.erase(at, std::min(end + 1, url.size()) - at);
  if (url.back() == '?' || url.back() == '&') url.pop_back();
  std::int64_t count = 0;
  const auto [rest, error] = std::from_chars(value.data(), value.data() + value.size(), count);
  if (error == std::errc{} && rest == value.data() + value.size() && count > 0) return count;
  throw Error{ErrorKind::invalid,
              fmt::format("store URL: archive_max must be a number of tasks, 1 or more, not \"{}\"", value)};
}

/// Of a URL.
struct Settings {
  redis::Options options = {};
  std::optional<std::int64_t> archive_max = {};
};

Settings read_url(std::string_view url) {
  try {
    std::string rest{url};
    const auto archive_max = take_archive_max(rest);
    return {redis::parse_url(rest), archive_max};
  } catch (const redis::Failure& problem) {
    throw Error{ErrorKind::invalid, fmt::format("store URL: {}", problem.what())};
  }
}

}  // namespace

void check_redis_url(std::string_view url) { (void)read_url(url); }

std::unique_ptr<Store> open_redis(std::string_view url, const Clock* clock) {
  Settings settings = read_url(url);
  try {
    auto store =
        std::make_unique<redis_store::RedisStore>(std::move(settings.options), clock, settings.archive_max);
    store->check_server();
    return store;
  } catch (const redis::Failure& problem) {
    throw Error{ErrorKind::invalid, fmt::format("store URL: {}", problem.what())};
  }
}

namespace redis_store {

using namespace std::chrono_literals;

namespace {

/// How long a queue that this object has named is taken for known; others may delete it meanwhile.
constexpr auto named_for = 10s;

}  // namespace

RedisStore::RedisStore(redis::Options options, const Clock* clock, std::optional<std::int64_t> archive_max)
    : clock_(clock),
      archive_max_(archive_max.value_or(0)),
      client_(std::move(options)),
      locks_(client_),
      documents_(client_),
      waiter_(client_) {
  const auto limit = [&](Feature feature, std::string text, bool absent = false) {
    capabilities_.limits[feature] = {.absent = absent, .text = std::move(text)};
  };
  limit(Feature::inside, "Redis can't take part in a database's transaction.", true);
  limit(Feature::priority,
        "On Redis there are two priorities: above zero goes to the front of its queue, the last such first; "
        "all others to the end.");
  limit(
      Feature::groups,
      "Asynq keeps by the second when tasks came into a group: it may be due up to a second early. A worker "
      "that merges groups looks at all groups of its queues, at least once a second.");
  limit(Feature::order,
        "Asynq keeps pending tasks in a list and all others by the second: a task is in line from when it "
        "was put there, given-back ones come first, and tasks of one second are in the order of their ids. "
        "Pages of pending tasks may repeat some, and an act on one of them costs as much as the list is "
        "long: some 10 ms at a million.");
}

redis::Command RedisStore::script(const redis::Script& script, std::string_view queue, const Call& call,
                                  std::size_t part) {
  redis::Command command{script, pending_key(queue)};
  if (call.session == 0) {
    command.add("").add("");
  } else {
    command.add(fmt::format("{:x}:{}", call.session, part)).add(static_cast<std::int64_t>(call.number));
    command.repeatable();
  }
  return command;
}

std::vector<redis::Reply> RedisStore::exec(const std::vector<redis::Command>& commands, const Call& call) {
  return exec_within(client_, commands, call);
}

redis::Reply RedisStore::ask(const redis::Command& command, const Call& call) {
  return ask_shared(client_, command, call);
}

redis::Command RedisStore::time_command() { return redis::Command{"TIME"}.reads(); }

TimePoint RedisStore::time_of(const redis::Reply& time) const {
  if (clock_ != nullptr) return clock_->now();
  checked(time);
  const auto part = [&](std::size_t i) { return to_number(time.items.at(i).text); };
  return TimePoint{std::chrono::seconds{part(0)} + std::chrono::microseconds{part(1)}};
}

TimePoint RedisStore::now() {
  return clock_ != nullptr ? clock_->now() : time_of(client_.exec(time_command()));
}

std::vector<redis::Command> RedisStore::name_queues(const std::vector<std::string_view>& queues) {
  std::vector<redis::Command> commands;
  const auto now = std::chrono::steady_clock::now();
  const std::lock_guard guard{mutex_};
  for (const std::string_view queue : queues) {
    const auto known = named_.find(queue);
    if (known != named_.end() && now - known->second < named_for) continue;
    named_.insert_or_assign(std::string{queue}, now);
    commands.push_back(std::move(redis::Command{"SADD", queues_key}.add(queue).repeatable()));
  }
  return commands;
}

std::vector<redis::Reply> RedisStore::Batch::finish() {
  if (commands.empty()) return {};
  std::vector<bool> sent(commands.size());
  for (const std::size_t at : sent_) sent[at] = true;
  for (std::size_t at = 0; at < commands.size(); ++at) {
    if (!sent[at]) send(at);
  }
  auto replies = sending_.finish();
  std::vector<redis::Reply> answers(replies.size());
  for (std::size_t n = 0; n < replies.size(); ++n) answers[sent_[n]] = std::move(replies[n]);
  return answers;
}

void RedisStore::forget_names(const std::vector<std::string_view>& queues) {
  const std::lock_guard guard{mutex_};
  for (const std::string_view queue : queues) {
    const auto known = named_.find(queue);
    if (known != named_.end()) named_.erase(known);
  }
}

Wake RedisStore::wait(std::string_view worker, std::span<const std::string_view> queues, Duration timeout,
                      std::stop_token stop) {
  return waiter_.wait(worker, queues, timeout, std::move(stop));
}

}  // namespace redis_store
}  // namespace tidemill
