#include "drivers/redis/client.hpp"

#include <algorithm>
#include <charconv>
#include <deque>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "drivers/redis/backoff.hpp"
#include "drivers/redis/connection.hpp"
#include "drivers/redis/servers.hpp"

namespace tidemill::redis {

namespace {

using Clock = std::chrono::steady_clock;

/// So often a server may send a call elsewhere at once; after that it waits between tries.
constexpr int redirections_max = 5;
/// How long one replica is waited for before the server is looked for anew, and where none was there of late.
constexpr int wait_one_ms = 1000;
constexpr int wait_alone_ms = 100;

/// One command of a call, until it has its reply.
struct Job {
  const Command* command;
  int slot;
  bool done = false;
  bool lost = false;    ///< Some try of it may have been carried out.
  bool asking = false;  ///< The redirection is for this command only.
  bool early = false;   ///< It is on its way before the first round.
  std::optional<Address> redirection = {};
  Reply reply = {};  ///< The last, or why there is none.
};

/// What goes to one server in one round.
struct Group {
  Address address;
  std::vector<Job*> jobs = {};
  std::vector<std::size_t> requests = {};  ///< For each job its place in the pipeline.
  std::shared_ptr<Pool> pool = {};
  std::unique_ptr<Connection> connection = {};
  int replicas = 0;  ///< How many must have what is written.
  std::optional<Command> wait = {};
};

bool ends_by_itself(const Reply& reply) {
  static constexpr std::string_view codes[] = {"LOADING",     "READONLY", "MASTERDOWN",
                                               "CLUSTERDOWN", "TRYAGAIN", "NOREPLICAS"};
  return std::any_of(std::begin(codes), std::end(codes), [&](auto code) { return reply.refused(code); });
}

bool wrong_server(const Reply& reply) { return reply.refused("READONLY") || reply.refused("MASTERDOWN"); }

/// What a command of a script was refused with: Redis before 7.0 says it at the end of words of its own, as
/// in "ERR Error running script (call to f_…): @user_script:5: @user_script: 5: -READONLY You can't write …".
void unwrap(std::string& text) {
  if (!text.starts_with("ERR Error running script ")) return;
  const std::size_t code = text.find(": -");
  if (code != std::string::npos) text.erase(0, code + 3);
}

/// Of "MOVED SLOT HOST:PORT"; without a host it is the one that says so.
std::optional<Address> redirection_of(std::string_view text, const Address& from) {
  const std::string_view place = text.substr(text.rfind(' ') + 1);
  const std::size_t colon = place.rfind(':');
  if (colon == std::string_view::npos) return {};
  const std::string_view host = place.substr(0, colon), port = place.substr(colon + 1);
  Address address{.host = host.empty() || host == "?" ? from.host : std::string{host}};
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), address.port);
  if (error != std::errc{} || end != port.data() + port.size() || address.port == 0) return {};
  return address;
}

const Command& asking() {
  static const Command command{"ASKING"};
  return command;
}

}  // namespace

/// One call: rounds until each job has its reply, or the deadline.
class Call {
 public:
  Call(Servers& servers, Deadline deadline) : servers_(servers), deadline_(deadline), turn_(servers.turn()) {}

  /// The command must outlive this.
  void add(const Command& command, int slot) { jobs_.push_back({.command = &command, .slot = slot}); }
  /// The same, and it goes on its way, if it is for the server of the first that did.
  void send(const Command& command);
  std::vector<Reply> run();

 private:
  /// What goes on its way before the first round.
  struct Early {
    Group group;
    Pipeline pipeline;
  };

  void round();
  bool assign();
  Group& group_of(const Address& address);
  void connect(Group& group, std::size_t groups_left);
  void begin_early(Job& job);
  static void put(Job& job, Group& group, Pipeline& pipeline);
  void put_wait(Group& group, Pipeline& pipeline);
  void settle(Group& group, Pipeline& pipeline);
  void settle(Group& group, Job& job, Pipeline& pipeline, std::size_t request);
  void settle_refusal(Group& group, Job& job, Reply reply, bool with_text);
  void check_replicas(Group& group, Pipeline& pipeline);
  void lose(Job& job, const std::string& reason);
  void leave(const Group& group);
  void pause();

  /// It will be tried again, but not before.
  void later(Deadline when) { wake_ = std::min(wake_.value_or(when), when); }
  /// It has not been sent in this round. What an earlier one met says more than that the time is up.
  void not_sent(Job& job, const std::string& reason) const {
    const bool late = Clock::now() >= deadline_ && !job.reply.text.empty();
    if (job.reply.kind != Reply::Kind::error && !late)
      job.reply = {.kind = Reply::Kind::unsent, .text = reason};
  }
  static void finish(Job& job, Reply reply) {
    job.reply = std::move(reply);
    job.done = true;
  }
  /// All of them are refused what only a login could have given.
  static void refuse(Job& job, const std::string& text) {
    finish(job, {.kind = job.lost ? Reply::Kind::lost : Reply::Kind::error, .text = text});
  }

  Servers& servers_;
  const Deadline deadline_;
  std::deque<Job> jobs_;
  std::vector<Group> groups_;
  std::optional<Early> early_;
  std::shared_ptr<const Layout> layout_;
  Backoff backoff_;
  std::optional<Deadline> wake_;
  std::size_t turn_;  ///< Who is asked what any server can answer.
  int redirections_ = 0;
  bool redirected_ = false;
};

void Call::send(const Command& command) {
  add(command, Wire::slot(command));
  Job& job = jobs_.back();
  if (jobs_.size() == 1) begin_early(job);
  if (!early_) return;
  const Address* const master = layout_->master_of(job.slot, turn_);
  if (master == nullptr || *master != early_->group.address) return;
  early_->group.jobs.push_back(&job);
  put(job, early_->group, early_->pipeline);
  job.early = true;
  // Once it is broken, what follows waits for its turn in the next round: nothing overtakes.
  if (!early_->pipeline.broken()) early_->pipeline.start();
}

/// What fails here is tried again by the first round, which has words for it.
void Call::begin_early(Job& job) {
  layout_ = servers_.known();
  const Address* const master = layout_ == nullptr ? nullptr : layout_->master_of(job.slot, turn_);
  if (master == nullptr) return;
  Group group{.address = *master, .pool = servers_.pool(*master)};
  try {
    group.connection = group.pool->take(deadline_);
  } catch (const std::exception&) {
    return;
  }
  Pipeline pipeline{*group.connection};
  early_.emplace(Early{std::move(group), std::move(pipeline)});
}

std::vector<Reply> Call::run() {
  const auto done = [](const Job& job) { return job.done; };
  do {
    round();
    if (std::all_of(jobs_.begin(), jobs_.end(), done)) break;
    pause();
  } while (Clock::now() < deadline_);
  std::vector<Reply> replies;
  replies.reserve(jobs_.size());
  for (Job& job : jobs_) {
    if (!job.done && job.lost) job.reply.kind = Reply::Kind::lost;
    replies.push_back(std::move(job.reply));
  }
  return replies;
}

void Call::pause() {
  const bool at_once = redirected_ && ++redirections_ <= redirections_max;
  if (at_once) return;
  if (!wake_ || redirected_) {
    backoff_.failed();
    later(backoff_.ready_at());
  }
  std::this_thread::sleep_until(std::min(*wake_, deadline_));
}

void Call::round() {
  redirected_ = false;
  wake_.reset();
  groups_.clear();
  if (!assign() && !early_) return;
  for (std::size_t i = 0; i < groups_.size(); ++i) connect(groups_[i], groups_.size() - i);
  std::erase_if(groups_, [](const Group& group) { return group.connection == nullptr; });
  std::vector<Pipeline> pipelines;
  pipelines.reserve(groups_.size() + 1);
  for (Group& group : groups_) {
    Pipeline& pipeline = pipelines.emplace_back(*group.connection);
    for (Job* const job : group.jobs) put(*job, group, pipeline);
  }
  if (early_) {
    groups_.push_back(std::move(early_->group));
    pipelines.push_back(std::move(early_->pipeline));
    early_.reset();
  }
  for (std::size_t i = 0; i < groups_.size(); ++i) put_wait(groups_[i], pipelines[i]);
  redis::run(pipelines, deadline_);
  for (std::size_t i = 0; i < groups_.size(); ++i) settle(groups_[i], pipelines[i]);
}

/// Puts each job that is left into the group of its server.
bool Call::assign() {
  const auto all = [this](const auto& what) {
    for (Job& job : jobs_) {
      if (!job.done && !job.early) what(job);
    }
  };
  if (early_ && std::ranges::all_of(jobs_, &Job::early)) return true;
  try {
    layout_ = servers_.layout(deadline_);
  } catch (const Refused& failure) {
    all([&](Job& job) { refuse(job, failure.what()); });
    return false;
  } catch (const Failure& failure) {
    all([&](Job& job) { not_sent(job, failure.what()); });
    later(servers_.ready_at());
    return false;
  }
  all([this](Job& job) {
    const Address* const master = layout_->master_of(job.slot, turn_);
    if (job.redirection) {
      group_of(*job.redirection).jobs.push_back(&job);
      job.redirection.reset();
    } else if (master != nullptr) {
      group_of(*master).jobs.push_back(&job);
    } else {
      not_sent(job, fmt::format("no server has the slot {}", job.slot));
      servers_.doubt(layout_);
    }
  });
  return true;
}

Group& Call::group_of(const Address& address) {
  for (Group& group : groups_) {
    if (group.address == address) return group;
  }
  return groups_.emplace_back(Group{.address = address});
}

void Call::connect(Group& group, std::size_t groups_left) {
  // A server that doesn't answer leaves time for the others.
  const auto now = Clock::now();
  const auto share = (deadline_ - now) / static_cast<std::ptrdiff_t>(groups_left);
  group.pool = servers_.pool(group.address);
  try {
    if (now >= deadline_) throw Failure{"the deadline has passed"};
    group.connection = group.pool->take(now + share);
  } catch (const Refused& failure) {
    for (Job* const job : group.jobs) refuse(*job, failure.what());
  } catch (const Failure& failure) {
    for (Job* const job : group.jobs) not_sent(*job, failure.what());
    servers_.doubt(layout_);
    later(group.pool->ready_at());
    leave(group);
  }
}

void Call::put(Job& job, Group& group, Pipeline& pipeline) {
  if (job.asking) pipeline.add(asking());
  job.asking = false;
  group.requests.push_back(pipeline.size());
  pipeline.add(*job.command);
}

/// Waits for replicas, where what was put is to be there.
void Call::put_wait(Group& group, Pipeline& pipeline) {
  const Options& options = servers_.options();
  bool replicated = false;
  for (const Job* const job : group.jobs) {
    if (!Wire::reads(*job->command)) group.replicas = options.replicas;
    replicated = replicated || Wire::replicated(*job->command);
  }
  const bool one = options.replicas == 0 && replicated && options.topology != Topology::single;
  if (one) group.replicas = 1;
  if (group.replicas == 0) return;
  // Sooner than the deadline, so that the answer comes in time: a server looks at its clock ten times a
  // second.
  const int left = milliseconds_until(deadline_);
  int limit = std::max(left - std::min(left / 2, 150), 1);
  if (one) limit = std::min(limit, servers_.is_alone(group.address) ? wait_alone_ms : wait_one_ms);
  group.wait.emplace("WAIT").add(group.replicas).add(limit);
  pipeline.add(*group.wait);
}

/// The server is in trouble: another one is asked what any can answer, by later calls too.
void Call::leave(const Group& group) {
  const Address* const asked = layout_->master_of(Wire::any_slot, turn_);
  if (*asked == group.address) servers_.leave_turn(turn_++);
}

void Call::settle(Group& group, Pipeline& pipeline) {
  bool moved = false;
  for (std::size_t i = 0; i < group.jobs.size(); ++i) {
    moved =
        moved || (pipeline.answered(group.requests[i]) && wrong_server(pipeline.reply(group.requests[i])));
    group.jobs[i]->early = false;
    settle(group, *group.jobs[i], pipeline, group.requests[i]);
  }
  if (group.wait) check_replicas(group, pipeline);
  if (pipeline.complete() && !moved) {
    group.pool->put(std::move(group.connection));
    return;
  }
  const std::string reason = moved ? "the server is no master now" : pipeline.reason();
  group.pool->trouble(fmt::format("{}: {}", shown(group.address), reason));
  servers_.doubt(layout_);
  later(group.pool->ready_at());
  leave(group);
}

void Call::settle(Group& group, Job& job, Pipeline& pipeline, std::size_t request) {
  if (pipeline.answered(request)) {
    Reply reply = std::move(pipeline.reply(request));
    if (reply.kind == Reply::Kind::error) {
      settle_refusal(group, job, std::move(reply), pipeline.with_text(request));
    } else {
      finish(job, std::move(reply));
    }
    return;
  }
  const std::string reason = fmt::format("{}: {}", shown(group.address), pipeline.reason());
  if (pipeline.sent(request)) {
    lose(job, reason);
  } else {
    not_sent(job, reason);
  }
}

void Call::settle_refusal(Group& group, Job& job, Reply reply, bool with_text) {
  unwrap(reply.text);
  const bool moved = reply.refused("MOVED");
  if (moved || reply.refused("ASK")) {
    job.redirection = redirection_of(reply.text, group.address);
    job.asking = !moved && job.redirection;
    job.reply = std::move(reply);
    redirected_ = true;
    if (moved) servers_.doubt(layout_);
  } else if (reply.refused("NOSCRIPT") && Wire::script(*job.command) != nullptr && !with_text) {
    group.connection->forget_scripts();
    job.reply = std::move(reply);
    redirected_ = true;
  } else if (ends_by_itself(reply)) {
    if (reply.refused("CLUSTERDOWN")) servers_.doubt(layout_);
    job.reply = std::move(reply);
  } else {
    finish(job, std::move(reply));
  }
}

void Call::lose(Job& job, const std::string& reason) {
  job.lost = true;
  job.done = !Wire::repeatable(*job.command);
  job.reply = {.kind = Reply::Kind::lost, .text = reason};
}

/// The last answer says how many replicas have all that was written before.
void Call::check_replicas(Group& group, Pipeline& pipeline) {
  const std::size_t request = pipeline.size() - 1;
  const bool one = servers_.options().replicas == 0;
  std::string reason = fmt::format("{}: {}", shown(group.address), pipeline.reason());
  if (pipeline.answered(request)) {
    const Reply& reply = pipeline.reply(request);
    if (reply.ok() && reply.integer >= group.replicas) {
      if (one) servers_.in_company(group.address);
      return;
    }
    if (one && servers_.counts_alone(group.address, deadline_)) return;
    reason = reply.ok() ? fmt::format("{}: {} of {} replicas have it", shown(group.address), reply.integer,
                                      group.replicas)
                        : fmt::format("{}: {}", shown(group.address), reply.text);
  }
  if (one) servers_.doubt(layout_);
  for (Job* const job : group.jobs) {
    const bool waits = one ? Wire::replicated(*job->command) : !Wire::reads(*job->command);
    if (job->done && job->reply.ok() && waits) lose(*job, reason);
  }
}

Client::Client(Options options) : servers_(std::make_shared<Servers>(std::move(options))) {}

Client::~Client() = default;

std::vector<Reply> Client::exec(std::span<const Command> commands, Deadline deadline) {
  Call call{*servers_, deadline};
  for (const Command& command : commands) call.add(command, Wire::slot(command));
  return call.run();
}

std::vector<Reply> Client::exec(std::span<const Command> commands) {
  return exec(commands, Clock::now() + options().timeout);
}

Reply Client::exec(const Command& command) { return std::move(exec({&command, 1}).front()); }

std::vector<Reply> Client::exec_everywhere(const Command& command, Deadline deadline) {
  std::vector<int> slots;
  while (slots.empty()) {
    try {
      for (const int slot : servers_->layout(deadline)->slot_of_each()) slots.push_back(slot);
    } catch (const Refused& failure) {
      return {{.kind = Reply::Kind::error, .text = failure.what()}};
    } catch (const Failure& failure) {
      if (Clock::now() >= deadline) return {{.kind = Reply::Kind::unsent, .text = failure.what()}};
      std::this_thread::sleep_until(std::min(deadline, servers_->ready_at()));
    }
  }
  Call call{*servers_, deadline};
  for (const int slot : slots) call.add(command, slot);
  return call.run();
}

Sending::Sending(Client& client, Deadline deadline)
    : call_(std::make_unique<Call>(*client.servers_, deadline)) {}

Sending::~Sending() = default;

void Sending::add(const Command& command) { call_->send(command); }

std::vector<Reply> Sending::finish() { return call_->run(); }

const Options& Client::options() const noexcept { return servers_->options(); }

}  // namespace tidemill::redis
