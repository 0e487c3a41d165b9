#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <tidemill/client.hpp>
#include <tidemill/error.hpp>
#include <utility>

#include "core/group_commit.hpp"
#include "core/rules.hpp"
#include "engine/batcher.hpp"
#include "engine/store_clock.hpp"

namespace tidemill {

namespace {

using engine::Lane;
using engine::Steady;
using engine::StoreClock;

/// How often a call whose outcome is unknown is repeated; the pause before it doubles from the first.
constexpr int repeats_max = 3;
constexpr auto repeat_pause = std::chrono::milliseconds{20};

Steady steady_now() { return std::chrono::steady_clock::now(); }

std::size_t bytes_of(const Task& task) {
  std::size_t bytes = task.kind.size() + task.payload.size();
  for (const auto& [name, value] : task.headers) bytes += name.size() + value.size();
  return bytes;
}

/// A task on its way into the store, and what came of it: an answer or an error.
struct Entry {
  Task task = {};
  Steady deadline = {};
  Enqueued answer = {};
  std::optional<Error> error = {};
};

/// The store knows a repeated call by its number, so an unknown outcome is resolved and not guessed.
std::vector<Enqueued> put(Store& store, std::span<const Task> tasks, const Call& call) {
  const auto unknown = [](const Enqueued& answer) { return answer.put == Put::unknown; };
  auto pause = repeat_pause;
  for (int left = repeats_max;; --left) {
    const bool last = left == 0 || steady_now() + pause > call.deadline;
    try {
      std::vector<Enqueued> answers = store.enqueue(tasks, call);
      if (last || std::none_of(answers.begin(), answers.end(), unknown)) return answers;
    } catch (const Error& error) {
      if (last || error.kind() != ErrorKind::unknown_outcome) throw;
    }
    std::this_thread::sleep_for(pause);
    pause *= 2;
  }
}

/// For people: why there is no new task.
std::string describe(const Task& task, const Enqueued& answer) {
  if (answer.put == Put::busy) {
    return fmt::format(
        "the unique key \"{}\" of queue \"{}\" is held by task {}, which has started and can't be replaced",
        task.unique ? task.unique->key : "", task.ref.queue, answer.id);
  }
  if (answer.put != Put::exists) return answer.why;
  if (answer.id == task.ref.id || !task.unique) {
    return fmt::format("queue \"{}\" has a task \"{}\" already", task.ref.queue, answer.id);
  }
  return fmt::format("the unique key \"{}\" of queue \"{}\" is held by task {}", task.unique->key,
                     task.ref.queue, answer.id);
}

/// Whether a call for this one task throws instead of returning the answer.
std::optional<Error> error_of(const Task& task, const Enqueued& answer) {
  switch (answer.put) {
    case Put::created:
    case Put::replaced:
    case Put::fired:
      return {};
    case Put::exists: {
      const bool of_key = task.unique && answer.id != task.ref.id;
      if (!of_key || task.unique->on_conflict != OnConflict::reject) return {};
      return Error{ErrorKind::conflict, answer.why};
    }
    case Put::busy:
      return Error{ErrorKind::conflict, answer.why};
    case Put::invalid:
      return Error{ErrorKind::invalid, answer.why};
    case Put::failed:
      return Error{ErrorKind::unavailable, fmt::format("the store did not take the task: {}", answer.why)};
    case Put::unknown:
      return Error{ErrorKind::unknown_outcome,
                   fmt::format("the store did not say whether it has the task: {}", answer.why)};
  }
  return {};
}

void settle(Entry& entry, const Task& task, Enqueued answer) {
  if (answer.put != Put::created && answer.put != Put::replaced) answer.why = describe(task, answer);
  entry.error = error_of(task, answer);
  entry.answer = std::move(answer);
}

/// As an answer of `enqueue_all` says that the whole call failed.
Put put_of(const Error& error) {
  return error.kind() == ErrorKind::unknown_outcome ? Put::unknown : Put::failed;
}

/// Tells the caller's hook what came of a task.
void tell(const ClientOptions& options, const Task& task, const Enqueued& answer) noexcept {
  if (!options.after_enqueue) return;
  std::string why = "unknown exception";
  try {
    options.after_enqueue(task, answer);
    return;
  } catch (const std::exception& error) {
    why = error.what();
  } catch (...) {
  }
  options.log.error("after_enqueue of the client's options threw",
                    {{"error", why}, {"queue", task.ref.queue}, {"id", task.ref.id}, {"kind", task.kind}});
}

/// The call failed, and with it this entry.
void fail(Entry& entry, const Error& error) {
  entry.answer = {put_of(error), entry.task.ref.id, error.what()};
  entry.error = error;
}

/// Puts entries into the store, one batch at a time.
///
/// Thread safety: none.
class Writer {
 public:
  Writer(Store& store, StoreClock& clock) : store_(store), lane_(clock) {}

  /// Answers each entry. Does not throw.
  void write(std::span<Entry* const> entries) noexcept {
    live_.clear();
    const Steady now = steady_now();
    for (Entry* entry : entries) {
      if (entry->deadline > now) {
        live_.push_back(entry);
      } else {
        fail(*entry, {ErrorKind::timed_out, "the time-out passed while the task waited for the store"});
      }
    }
    if (live_.empty()) return;
    std::optional<Error> failed;
    try {
      write_live();
    } catch (const Error& error) {
      failed = error;
    } catch (const std::exception& error) {
      failed.emplace(ErrorKind::unavailable, error.what());
    }
    for (std::size_t i = 0; i < tasks_.size(); ++i) live_[i]->task = std::move(tasks_[i]);
    tasks_.clear();
    if (!failed) return;
    for (Entry* entry : live_) fail(*entry, *failed);
  }

 private:
  void write_live() {
    // The newest caller's time: an older one may wait beyond its own, but none fails for another's hurry.
    Steady deadline{};
    for (const Entry* entry : live_) deadline = std::max(deadline, entry->deadline);
    Call call = lane_.next();
    call.deadline = deadline;
    if (live_.size() == 1) {
      Entry& only = *live_.front();
      settle(only, only.task, std::move(put(store_, {&only.task, 1}, call).front()));
      return;
    }
    tasks_.reserve(live_.size());
    for (Entry* entry : live_) tasks_.push_back(std::move(entry->task));
    std::vector<Enqueued> answers = put(store_, tasks_, call);
    for (std::size_t i = 0; i < live_.size(); ++i) settle(*live_[i], tasks_[i], std::move(answers[i]));
  }

  Store& store_;
  Lane lane_;
  std::vector<Entry*> live_;  // Both are kept for their memory only.
  std::vector<Task> tasks_;
};

/// Single calls of many threads, merged. One lane for plain tasks and one for those with unique keys, which
/// may have to wait for somebody's open transaction.
class MergingLane {
 public:
  MergingLane(Store& store, StoreClock& clock, std::size_t count_max, std::size_t bytes_max)
      : writer_(store, clock),
        count_max_(count_max),
        bytes_max_(bytes_max),
        commit_(
            [this](std::span<Entry* const> entries) { writer_.write(entries); },
            [this](std::span<Entry* const> gathered, const Entry& next) { return fits(gathered, next); }) {}

  void run(Entry& entry) { commit_.run(entry); }

 private:
  bool fits(std::span<Entry* const> gathered, const Entry& next) {
    if (gathered.size() == 1) bytes_ = bytes_of(gathered.front()->task);
    bytes_ += bytes_of(next.task);
    return gathered.size() < count_max_ && bytes_ <= bytes_max_;
  }

  Writer writer_;
  const std::size_t count_max_;
  const std::size_t bytes_max_;
  std::size_t bytes_ = 0;  // Of the batch that gathers; used by its leader only.
  GroupCommit<Entry> commit_;
};

struct AsyncEntry {
  Entry entry = {};
  std::promise<Enqueued> promise = {};
};

/// The tasks of one `enqueue_all`: turned into as few calls as the store allows.
class Bulk {
 public:
  Bulk(Store& store, StoreClock& clock, const ClientOptions& options, std::vector<Enqueued>& answers)
      : store_(store),
        clock_(clock),
        options_(options),
        deadline_(steady_now() + options.timeout),
        count_max_(std::max<std::size_t>(store.capabilities().batch_max, 1)),
        answers_(answers) {
    plain_.tasks.reserve(std::min(answers.size(), count_max_));
  }

  /// `index` is where the answer goes.
  void add(Task&& task, std::size_t index) {
    // Those with unique keys travel apart: somebody's open transaction may hold one.
    Batch& batch = task.unique ? unique_ : plain_;
    const std::size_t bytes = bytes_of(task);
    if (batch.tasks.size() == count_max_ ||
        (!batch.tasks.empty() && batch.bytes + bytes > options_.batch_bytes_max))
      send(batch);
    batch.bytes += bytes;
    batch.tasks.push_back(std::move(task));
    batch.indexes.push_back(index);
  }

  void finish() {
    send(plain_);
    send(unique_);
  }

 private:
  struct Batch {
    std::vector<Task> tasks = {};
    std::vector<std::size_t> indexes = {};
    std::size_t bytes = 0;
  };

  void send(Batch& batch) {
    if (batch.tasks.empty()) return;
    if (error_) {
      fail_all(batch, {Put::failed, "", error_->what()});
    } else {
      try {
        Call call = clock_.call();
        call.deadline = deadline_;
        take(batch, put(store_, batch.tasks, call));
        written_ = true;
      } catch (const Error& error) {
        fail_all(batch, {put_of(error), "", error.what()});
        // As long as nothing is written the whole call fails. Afterwards the answers must say what is.
        if (!written_) throw;
        error_ = error;
      }
    }
    batch.tasks.clear();
    batch.indexes.clear();
    batch.bytes = 0;
  }

  void take(const Batch& batch, std::vector<Enqueued> answers) {
    for (std::size_t i = 0; i < answers.size(); ++i) {
      Enqueued& answer = answers_[batch.indexes[i]];
      answer = std::move(answers[i]);
      if (answer.put != Put::created) answer.why = describe(batch.tasks[i], answer);
      tell(options_, batch.tasks[i], answer);
    }
  }

  void fail_all(const Batch& batch, const Enqueued& answer) {
    for (std::size_t i = 0; i < batch.tasks.size(); ++i) {
      answers_[batch.indexes[i]] = answer;
      tell(options_, batch.tasks[i], answer);
    }
  }

  Store& store_;
  StoreClock& clock_;
  const ClientOptions& options_;
  const Steady deadline_;
  const std::size_t count_max_;
  std::vector<Enqueued>& answers_;
  Batch plain_;
  Batch unique_;
  bool written_ = false;
  std::optional<Error> error_;  // Of the first call that failed after others had written.
};

}  // namespace

struct Client::Impl {
  Impl(Store& s, ClientOptions o)
      : store(s),
        options(std::move(o)),
        clock(store),
        count_max(std::max<std::size_t>(std::min(options.batch_max, store.capabilities().batch_max), 1)),
        plain(store, clock, count_max, options.batch_bytes_max),
        unique(store, clock, count_max, options.batch_bytes_max),
        async_writer(store, clock) {}

  /// The task as the caller's hook leaves it.
  Task admitted(std::string_view kind, std::string payload, const EnqueueOptions& task_options) const {
    if (!options.before_enqueue)
      return rules::admit(kind, std::move(payload), task_options, store.capabilities());
    NewTask task{std::string{kind}, std::move(payload), task_options};
    try {
      options.before_enqueue(task);
    } catch (const Error&) {
      throw;
    } catch (const std::exception& error) {
      throw Error{ErrorKind::invalid, error.what()};
    } catch (...) {
      throw Error{ErrorKind::invalid, "before_enqueue of the client's options refused the task"};
    }
    return rules::admit(task.kind, std::move(task.payload), task.options, store.capabilities());
  }

  Entry admit(std::string_view kind, std::string payload, const EnqueueOptions& task_options) const {
    return {.task = admitted(kind, std::move(payload), task_options),
            .deadline = steady_now() + options.timeout};
  }

  Enqueued finish(Entry& entry) const {
    tell(options, entry.task, entry.answer);
    if (entry.error) throw *entry.error;
    return std::move(entry.answer);
  }

  engine::Batcher<AsyncEntry>& async() {
    std::call_once(async_once, [this] {
      engine::BatcherOptions limits;
      limits.name = "tm-client";
      limits.batch_max = count_max;
      limits.batch_weight_max = options.batch_bytes_max;
      async_batcher = std::make_unique<engine::Batcher<AsyncEntry>>(
          [this](std::span<AsyncEntry> entries) { flush_async(entries); }, limits,
          [](const AsyncEntry& e) { return bytes_of(e.entry.task); });
    });
    return *async_batcher;
  }

  void flush_async(std::span<AsyncEntry> entries) {
    std::array<std::vector<Entry*>, 2> batches;  // Without and with a unique key.
    for (AsyncEntry& each : entries) batches[each.entry.task.unique ? 1 : 0].push_back(&each.entry);
    for (const std::vector<Entry*>& batch : batches) {
      if (!batch.empty()) async_writer.write(batch);
    }
    for (AsyncEntry& each : entries) {
      tell(options, each.entry.task, each.entry.answer);
      if (each.entry.error) {
        each.promise.set_exception(std::make_exception_ptr(*each.entry.error));
      } else {
        each.promise.set_value(std::move(each.entry.answer));
      }
    }
  }

  Store& store;
  const ClientOptions options;
  StoreClock clock;
  const std::size_t count_max;
  MergingLane plain;
  MergingLane unique;

  std::once_flag async_once;
  Writer async_writer;                                         // The batcher's thread's.
  std::unique_ptr<engine::Batcher<AsyncEntry>> async_batcher;  // Last: its thread uses all the others.
};

Client::Client(Store& store, ClientOptions options)
    : impl_(std::make_unique<Impl>(store, std::move(options))) {}

Client::~Client() = default;

Enqueued Client::enqueue(std::string_view kind, std::string payload, const EnqueueOptions& options) {
  Entry entry = impl_->admit(kind, std::move(payload), options);
  (entry.task.unique ? impl_->unique : impl_->plain).run(entry);
  return impl_->finish(entry);
}

Enqueued Client::enqueue(Transaction& inside, std::string_view kind, std::string payload,
                         const EnqueueOptions& options) {
  Entry entry = impl_->admit(kind, std::move(payload), options);
  rules::require(impl_->store.capabilities(), Feature::inside);
  const Call call = impl_->clock.call(impl_->options.timeout);
  // No repeats here: whether the commit happens, and what to do in doubt, is the caller's.
  try {
    settle(entry, entry.task, std::move(impl_->store.enqueue({&entry.task, 1}, call, &inside).front()));
  } catch (const Error& error) {
    fail(entry, error);
  }
  return impl_->finish(entry);
}

std::vector<Enqueued> Client::enqueue_all(std::span<const NewTask> tasks) {
  std::vector<Enqueued> answers(tasks.size());
  Bulk bulk{impl_->store, impl_->clock, impl_->options, answers};
  for (std::size_t i = 0; i < tasks.size(); ++i) {
    const NewTask& task = tasks[i];
    std::optional<Task> admitted;
    try {
      admitted = impl_->admitted(task.kind, task.payload, task.options);
    } catch (const Error& refused) {
      answers[i] = {Put::invalid, task.options.id, refused.what()};
      continue;
    }
    bulk.add(std::move(*admitted), i);
  }
  bulk.finish();
  return answers;
}

std::future<Enqueued> Client::enqueue_async(std::string_view kind, std::string payload,
                                            const EnqueueOptions& options) {
  AsyncEntry entry;
  std::future<Enqueued> future = entry.promise.get_future();
  try {
    entry.entry = impl_->admit(kind, std::move(payload), options);
    if (!impl_->async().try_push(std::move(entry))) {
      throw Error{
          ErrorKind::unavailable,
          fmt::format("{} asynchronous calls wait for the store already; wait for some of their futures",
                      impl_->async().queued())};
    }
  } catch (const Error&) {
    entry.promise.set_exception(std::current_exception());  // NOLINT(bugprone-use-after-move): it was refused
  }
  return future;
}

}  // namespace tidemill
