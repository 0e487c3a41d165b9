#include "drivers/redis/servers.hpp"

#include <algorithm>
#include <charconv>
#include <utility>

#include <fmt/format.h>

namespace tidemill::redis {

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t slots = 16384;
/// How often sentinels are asked in any case: a master that is replaced while it lives takes writes for
/// seconds more, and they are lost. It must not cost much when a sentinel doesn't answer.
constexpr auto look_again = std::chrono::seconds{1};
constexpr auto look_max = std::chrono::milliseconds{200};
/// So long without doubt, and the next one is looked into at once.
constexpr auto calm = std::chrono::seconds{2};
/// After so long without a replica, a master that is one still is taken to have lost them. Sentinels know of
/// a new master some three seconds after it has become one.
constexpr auto alone_after = std::chrono::seconds{5};

Reply ask_those_that_know(Connection& connection, const Command& command, Deadline deadline) {
  Reply reply = ask(connection, command, deadline);
  if (reply.kind == Reply::Kind::error) throw Refused{reply.text};
  return reply;
}

std::optional<std::uint16_t> port_of(std::string_view text) {
  unsigned value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value == 0 || value > 65535) return {};
  return static_cast<std::uint16_t>(value);
}

/// Of the answer to CLUSTER SLOTS. A node that doesn't know its own address is where it was asked.
Layout layout_of(const Reply& answer, const Address& asked) {
  Layout layout;
  layout.owners.assign(slots, Layout::nobody);
  for (const Reply& range : answer.items) {
    if (range.items.size() < 3 || range.items[2].items.size() < 2) continue;
    const std::int64_t first = range.items[0].integer, last = range.items[1].integer;
    const Reply& host = range.items[2].items[0];
    const std::int64_t port = range.items[2].items[1].integer;
    if (first < 0 || last < first || last >= static_cast<std::int64_t>(slots) || port < 1 || port > 65535)
      continue;
    const bool unknown = host.text.empty() || host.text == "?";
    const Address address{.host = unknown ? asked.host : host.text, .port = static_cast<std::uint16_t>(port)};
    auto at = std::find(layout.masters.begin(), layout.masters.end(), address);
    if (at == layout.masters.end()) at = layout.masters.insert(at, address);
    const auto owner = static_cast<std::uint16_t>(at - layout.masters.begin());
    std::fill(layout.owners.begin() + first, layout.owners.begin() + last + 1, owner);
  }
  return layout;
}

Options checked(Options options) {
  if (options.addresses.empty()) throw Failure{"no server is named"};
  return options;
}

}  // namespace

const Address* Layout::master_of(int slot, std::size_t turn) const noexcept {
  if (owners.empty() || slot == Wire::any_slot) return &masters[turn % masters.size()];
  const std::uint16_t owner = owners[static_cast<std::size_t>(slot)];
  return owner == nobody ? nullptr : &masters[owner];
}

std::vector<int> Layout::slot_of_each() const {
  if (owners.empty()) return {Wire::any_slot};
  std::vector<int> each;
  for (std::size_t i = 0; i < masters.size(); ++i)
    each.push_back(static_cast<int>(std::find(owners.begin(), owners.end(), i) - owners.begin()));
  return each;
}

Servers::Servers(Options options) : options_(checked(std::move(options))) {
  if (options_.tls) tls_.emplace(options_);
  login_ = {.user = options_.user,
            .password = options_.password,
            .database = options_.database,
            .master = options_.topology == Topology::sentinel};
  if (options_.topology == Topology::single)
    layout_ = std::make_shared<Layout>(Layout{.masters = {options_.addresses.front()}});
}

std::shared_ptr<const Layout> Servers::layout(Deadline deadline) {
  std::unique_lock lock{mutex_};
  while (true) {
    if (layout_ && !doubted_ && !asking_ && Clock::now() >= look_at_) break;
    if (layout_ && (!doubted_ || asking_ || !backoff_.ready())) return layout_;
    if (!asking_) break;
    if (asked_.wait_until(lock, deadline) == std::cv_status::timeout)
      throw Failure{"it takes too long to find the servers"};
  }
  if (layout_ && !doubted_) {
    deadline = std::min(deadline, Clock::now() + look_max);
  } else {
    if (!backoff_.ready()) throw Failure{reason_};
    if (Clock::now() - backoff_.ready_at() > calm) backoff_.reset();
    backoff_.failed();
  }
  if (options_.topology == Topology::sentinel) look_at_ = Clock::now() + look_again;
  asking_ = true;
  lock.unlock();
  std::shared_ptr<const Layout> fresh;
  try {
    fresh = ask(deadline);
  } catch (const std::exception& failure) {
    lock.lock();
    asking_ = false;
    asked_.notify_all();
    reason_ = failure.what();
    // What was right a moment ago may still be: those that know can be away while the servers are there.
    if (layout_) return layout_;
    throw;
  }
  lock.lock();
  asking_ = false;
  asked_.notify_all();
  doubted_ = false;
  if (!layout_ || *layout_ != *fresh) layout_ = std::move(fresh);
  drop_pools_beyond(*layout_);
  return layout_;
}

std::shared_ptr<const Layout> Servers::known() const {
  const std::lock_guard lock{mutex_};
  return layout_;
}

void Servers::doubt(const std::shared_ptr<const Layout>& layout) {
  const std::lock_guard lock{mutex_};
  if (layout == layout_) doubted_ = options_.topology != Topology::single;
}

Deadline Servers::ready_at() const {
  const std::lock_guard lock{mutex_};
  return backoff_.ready_at();
}

bool Servers::counts_alone(const Address& address, Deadline deadline) {
  const auto now = Clock::now();
  {
    const std::lock_guard lock{mutex_};
    Alone& alone = alone_.try_emplace(address, Alone{now, now}).first->second;
    // Nobody has looked for a while: a replica may have been there and gone.
    if (now - alone.seen >= alone_after) alone.since = now;
    alone.seen = now;
    if (now - alone.since < alone_after) return false;
  }
  return is_master_still(address, deadline);
}

bool Servers::is_alone(const Address& address) const {
  const std::lock_guard lock{mutex_};
  const auto found = alone_.find(address);
  return found != alone_.end() && found->second.seen - found->second.since >= alone_after;
}

void Servers::in_company(const Address& address) {
  const std::lock_guard lock{mutex_};
  alone_.erase(address);
}

/// What was known a moment ago won't do: each is asked.
bool Servers::is_master_still(const Address& address, Deadline deadline) {
  const auto layout = known();
  const auto& all = options_.topology == Topology::cluster ? layout->masters : options_.addresses;
  std::size_t agreed = 0;
  for (const Address& one : all) {
    try {
      std::string reason;
      const auto found = ask_one(one, std::min(deadline, Clock::now() + options_.connect_timeout), reason);
      if (found && std::ranges::find(found->masters, address) != found->masters.end()) ++agreed;
    } catch (const Failure&) {  // It is away, and says nothing.
    }
    if (2 * agreed > all.size()) return true;
  }
  return false;
}

std::vector<Address> Servers::who_know() const {
  const std::lock_guard lock{mutex_};
  std::vector<Address> all = options_.addresses;
  if (options_.topology == Topology::cluster && layout_)
    all.insert(all.end(), layout_->masters.begin(), layout_->masters.end());
  std::sort(all.begin(), all.end());
  all.erase(std::unique(all.begin(), all.end()), all.end());
  return all;
}

std::shared_ptr<const Layout> Servers::ask(Deadline deadline) {
  const std::vector<Address> all = who_know();
  const std::size_t first = turn_++;
  std::string reasons;
  bool refused = false;
  for (std::size_t i = 0; i < all.size(); ++i) {
    const Address& address = all[(first + i) % all.size()];
    const auto now = Clock::now();
    const auto share = (deadline - now) / static_cast<std::ptrdiff_t>(all.size() - i);
    std::string reason;
    try {
      if (auto found = ask_one(address, std::min(now + share, now + options_.connect_timeout), reason))
        return std::make_shared<Layout>(std::move(*found));
    } catch (const Refused& failure) {
      refused = true;
      reason = failure.what();
    } catch (const Failure& failure) {
      reason = failure.what();
    }
    reasons += fmt::format("{}{}: {}", i == 0 ? "" : "; ", shown(address), reason);
  }
  if (refused) throw Refused{reasons};
  throw Failure{reasons};
}

std::optional<Layout> Servers::ask_one(const Address& address, Deadline deadline, std::string& reason) {
  if (options_.topology == Topology::cluster) {
    Connection connection{address, {.user = login_.user, .password = login_.password}, tls(), deadline};
    Layout layout =
        layout_of(ask_those_that_know(connection, Command{"CLUSTER"}.add("SLOTS"), deadline), address);
    if (!layout.masters.empty()) return layout;
    reason = "the node knows of no slots";
    return {};
  }
  Connection connection{
      address, {.user = options_.sentinel_user, .password = options_.sentinel_password}, tls(), deadline};
  const Command question = Command{"SENTINEL"}.add("GET-MASTER-ADDR-BY-NAME").add(options_.master);
  const Reply reply = ask_those_that_know(connection, question, deadline);
  reason = fmt::format("the sentinel knows no master \"{}\"", options_.master);
  if (reply.items.size() != 2) return {};
  const auto port = port_of(reply.items[1].text);
  if (!port) return {};
  return Layout{.masters = {{.host = reply.items[0].text, .port = *port}}};
}

std::shared_ptr<Pool> Servers::pool(const Address& address) {
  const std::lock_guard lock{mutex_};
  std::shared_ptr<Pool>& pool = pools_[address];
  if (!pool) pool = std::make_shared<Pool>(address, login_, tls(), options_.connect_timeout);
  return pool;
}

void Servers::drop_pools_beyond(const Layout& layout) {
  std::erase_if(pools_, [&](const auto& entry) {
    return std::find(layout.masters.begin(), layout.masters.end(), entry.first) == layout.masters.end();
  });
}

std::unique_ptr<Connection> Servers::connect(const Address& address, Deadline deadline) {
  Login login = login_;
  login.resp3 = true;
  const auto limit = std::min(deadline, Clock::now() + options_.connect_timeout);
  return std::make_unique<Connection>(address, login, tls(), limit);
}

}  // namespace tidemill::redis
