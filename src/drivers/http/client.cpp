#include "drivers/http/client.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <deque>
#include <future>
#include <list>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <system_error>
#include <thread>
#include <unordered_map>
#include <utility>

#include <fmt/format.h>

#include <curl/curl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "drivers/http/address_guard.hpp"
#include "drivers/http/transfer.hpp"

namespace tidemill::http {

namespace {

using Steady = std::chrono::steady_clock;

/// Calls whose host's name is being looked up: curl starts a thread for each.
constexpr std::size_t lookups_max = 512;
constexpr std::size_t lookups_per_host_max = 16;
/// Handles kept for later calls.
constexpr std::size_t spare_max = 1'000;

void initialize_curl() {
  static const CURLcode code = curl_global_init(CURL_GLOBAL_DEFAULT);
  if (code != CURLE_OK)
    throw std::runtime_error{fmt::format("libcurl does not start: {}", curl_easy_strerror(code))};
}

struct MultiCleanUp {
  void operator()(CURLM* multi) const noexcept { curl_multi_cleanup(multi); }
};

class Descriptor {
 public:
  /// Throws std::system_error when `number` is none.
  Descriptor(int number, const char* what) : number_(number) {
    if (number_ < 0) throw std::system_error{errno, std::generic_category(), what};
  }
  ~Descriptor() { ::close(number_); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const noexcept { return number_; }

 private:
  const int number_;
};

}  // namespace

struct Host {
  std::string key = {};
  std::list<Transfer*> waiting = {};
  std::size_t in_flight = 0;
  std::size_t lookups = 0;
  bool in_turn = false;  ///< It is in `turns`.
};

struct Client::Impl {
  explicit Impl(ClientOptions o);
  ~Impl() { stop(); }

  // ---- From any thread
  void send(Call call, Done done);
  void cancel(std::uint64_t id);
  std::vector<HostLoad> load();
  void stop();
  void wake() const;

  // ---- On the client's thread
  void run();
  bool take_inbox();
  std::vector<HostLoad> loads() const;
  void accept(std::unique_ptr<Transfer> transfer);
  void offer(Host& host);
  void admit();
  void start(Host& host);
  void move_bytes();
  void finish_ended();
  void cancel_now(std::uint64_t id);
  void end_all();
  /// Frees what the transfer holds, and tells.
  void conclude(Transfer& transfer, CallResult result);

  static int watch(CURL*, curl_socket_t socket, int what, Impl* self, void*) noexcept;
  static int set_timer(CURLM*, long milliseconds, Impl* self) noexcept;

  const ClientOptions options;
  const AddressGuard guard;
  const Descriptor events{epoll_create1(EPOLL_CLOEXEC), "epoll_create1"};
  const Descriptor bell{eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "eventfd"};

  std::mutex mutex;  // Guards up to `stopping`.
  std::vector<std::unique_ptr<Transfer>> inbox;
  std::vector<std::uint64_t> cancelled;
  std::vector<std::promise<std::vector<HostLoad>>> asked;
  std::uint64_t next_id = 1;
  bool stopping = false;

  std::unordered_map<std::uint64_t, std::unique_ptr<Transfer>> transfers;
  std::unordered_map<std::string, std::unique_ptr<Host>> hosts;
  std::deque<Host*> turns;  ///< Those that may start a call, the next one first.
  std::size_t in_flight = 0;
  std::size_t lookups = 0;
  std::optional<Steady::time_point> timer;
  std::vector<Easy> spare;
  std::unique_ptr<CURLM, MultiCleanUp> multi;  // Below what its callbacks use.

  std::mutex joining;
  std::thread thread;
};

Client::Impl::Impl(ClientOptions o) : options(std::move(o)), guard(options.allow_networks) {
  initialize_curl();
  multi.reset(curl_multi_init());
  if (multi == nullptr) throw std::bad_alloc{};
  curl_multi_setopt(multi.get(), CURLMOPT_SOCKETFUNCTION, &Impl::watch);
  curl_multi_setopt(multi.get(), CURLMOPT_SOCKETDATA, this);
  curl_multi_setopt(multi.get(), CURLMOPT_TIMERFUNCTION, &Impl::set_timer);
  curl_multi_setopt(multi.get(), CURLMOPT_TIMERDATA, this);
  curl_multi_setopt(multi.get(), CURLMOPT_MAXCONNECTS, static_cast<long>(options.in_flight_max));
  epoll_event event{.events = EPOLLIN, .data = {.fd = bell.get()}};
  if (epoll_ctl(events.get(), EPOLL_CTL_ADD, bell.get(), &event) != 0)
    throw std::system_error{errno, std::generic_category(), "epoll_ctl"};
  thread = std::thread{[this] { run(); }};
}

// ---- From any thread

void Client::Impl::wake() const {
  const std::uint64_t one = 1;
  // It fails only when it is rung already.
  [[maybe_unused]] const ssize_t written = ::write(bell.get(), &one, sizeof one);
}

void Client::Impl::send(Call call, Done done) {
  bool first = false;
  {
    const std::lock_guard lock{mutex};
    if (!stopping) {
      first = inbox.empty();
      inbox.push_back(std::make_unique<Transfer>(next_id++, std::move(call), std::exchange(done, nullptr)));
    }
  }
  if (done) done({.error = "the HTTP client has been stopped"});
  if (first) wake();
}

void Client::Impl::cancel(std::uint64_t id) {
  {
    const std::lock_guard lock{mutex};
    cancelled.push_back(id);
  }
  wake();
}

std::vector<Client::HostLoad> Client::Impl::load() {
  std::future<std::vector<HostLoad>> answer;
  {
    const std::lock_guard lock{mutex};
    if (stopping) return {};
    answer = asked.emplace_back().get_future();
  }
  wake();
  return answer.get();
}

void Client::Impl::stop() {
  {
    const std::lock_guard lock{mutex};
    stopping = true;
  }
  wake();
  const std::lock_guard lock{joining};
  if (thread.joinable()) thread.join();
}

// ---- On the client's thread

void Client::Impl::run() {
  pthread_setname_np(pthread_self(), "tm-http-client");
  // Signals are for the program's own threads, and a broken pipe is no news.
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, nullptr);
  while (take_inbox()) {
    admit();
    move_bytes();
    finish_ended();
  }
  end_all();
}

bool Client::Impl::take_inbox() {
  std::vector<std::unique_ptr<Transfer>> calls;
  std::vector<std::uint64_t> ids;
  std::vector<std::promise<std::vector<HostLoad>>> questions;
  bool end = false;
  {
    const std::lock_guard lock{mutex};
    calls.swap(inbox);
    ids.swap(cancelled);
    questions.swap(asked);
    end = stopping;
  }
  for (auto& question : questions) question.set_value(loads());
  if (end) {
    for (std::unique_ptr<Transfer>& call : calls) transfers.emplace(call->id, std::move(call));
    return false;
  }
  for (std::unique_ptr<Transfer>& call : calls) accept(std::move(call));
  for (const std::uint64_t id : ids) cancel_now(id);
  return true;
}

std::vector<Client::HostLoad> Client::Impl::loads() const {
  std::vector<HostLoad> all;
  for (const auto& [key, host] : hosts) all.push_back({key, host->in_flight, host->waiting.size()});
  std::ranges::sort(all, {}, &HostLoad::host);
  return all;
}

void Client::Impl::accept(std::unique_ptr<Transfer> transfer) {
  Transfer& it = *transfer;
  transfers.emplace(it.id, std::move(transfer));
  if (std::string why = it.check(); !why.empty()) {
    conclude(it, {.error = std::move(why)});
    return;
  }
  std::unique_ptr<Host>& host = hosts[it.target.key()];
  if (host == nullptr) host = std::make_unique<Host>(Host{.key = it.target.key()});
  it.host = host.get();
  it.place = host->waiting.insert(host->waiting.end(), &it);
  offer(*host);
  if (it.call.stop.stop_possible()) {
    it.on_stop.emplace(it.call.stop, [this, id = it.id] { cancel(id); });
  }
}

/// Puts the host in turn if it may start a call.
void Client::Impl::offer(Host& host) {
  if (host.in_turn || host.waiting.empty() || host.in_flight >= options.per_host_max ||
      host.lookups >= lookups_per_host_max)
    return;
  host.in_turn = true;
  turns.push_back(&host);
}

/// Starts calls, one of each host in turn.
void Client::Impl::admit() {
  while (!turns.empty() && in_flight < options.in_flight_max && lookups < lookups_max) {
    Host& host = *turns.front();
    turns.pop_front();
    host.in_turn = false;
    if (!host.waiting.empty()) start(host);
    offer(host);
  }
}

void Client::Impl::start(Host& host) {
  Transfer& transfer = *host.waiting.front();
  host.waiting.pop_front();
  Easy easy;
  if (spare.empty()) {
    easy.reset(curl_easy_init());
    if (easy == nullptr) throw std::bad_alloc{};
  } else {
    easy = std::move(spare.back());
    spare.pop_back();
  }
  ++in_flight;
  ++host.in_flight;
  ++lookups;
  ++host.lookups;
  transfer.begin(std::move(easy), guard, options.connect_timeout, [this, &host] {
    --lookups;
    --host.lookups;
    offer(host);
  });
  if (curl_multi_add_handle(multi.get(), transfer.easy.get()) != CURLM_OK) throw std::bad_alloc{};
}

/// Waits for something to happen, and lets curl deal with it.
void Client::Impl::move_bytes() {
  int wait = -1;
  if (timer) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(*timer - Steady::now()).count();
    wait = static_cast<int>(std::clamp<std::int64_t>(left, 0, 60'000));
  }
  std::array<epoll_event, 256> ready;
  const int count = epoll_wait(events.get(), ready.data(), static_cast<int>(ready.size()), wait);
  int running = 0;
  for (int i = 0; i < count; ++i) {
    const epoll_event& event = ready.at(static_cast<std::size_t>(i));
    if (event.data.fd == bell.get()) {
      std::uint64_t rings = 0;
      [[maybe_unused]] const ssize_t got = ::read(bell.get(), &rings, sizeof rings);
      continue;
    }
    int what = 0;
    if ((event.events & EPOLLIN) != 0) what |= CURL_CSELECT_IN;
    if ((event.events & EPOLLOUT) != 0) what |= CURL_CSELECT_OUT;
    if ((event.events & (EPOLLERR | EPOLLHUP)) != 0) what |= CURL_CSELECT_ERR;
    curl_multi_socket_action(multi.get(), event.data.fd, what, &running);
  }
  if (timer && *timer <= Steady::now()) {
    timer.reset();
    curl_multi_socket_action(multi.get(), CURL_SOCKET_TIMEOUT, 0, &running);
  }
}

void Client::Impl::finish_ended() {
  int left = 0;
  while (const CURLMsg* message = curl_multi_info_read(multi.get(), &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    const CURLcode code = message->data.result;
    Transfer* transfer = nullptr;
    curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &transfer);
    conclude(*transfer, transfer->result(code));
  }
}

void Client::Impl::cancel_now(std::uint64_t id) {
  const auto found = transfers.find(id);
  if (found != transfers.end()) conclude(*found->second, {.error = "cancelled"});
}

void Client::Impl::end_all() {
  while (!transfers.empty())
    conclude(*transfers.begin()->second, {.error = "the HTTP client has been stopped"});
}

void Client::Impl::conclude(Transfer& transfer, CallResult result) {
  if (Host* const host = transfer.host) {
    if (transfer.easy != nullptr) {
      curl_multi_remove_handle(multi.get(), transfer.easy.get());
      Easy easy = transfer.end();
      if (spare.size() < spare_max) spare.push_back(std::move(easy));
      --in_flight;
      --host->in_flight;
    } else {
      host->waiting.erase(transfer.place);
    }
    offer(*host);
    if (host->in_flight == 0 && host->waiting.empty()) {
      if (host->in_turn) std::erase(turns, host);
      hosts.erase(host->key);
    }
  }
  const auto owner = transfers.extract(transfer.id);
  transfer.on_stop.reset();
  transfer.done(std::move(result));
}

// ---- What curl calls

int Client::Impl::watch(CURL*, curl_socket_t socket, int what, Impl* self, void*) noexcept {
  epoll_event event{.events = 0, .data = {.fd = socket}};
  if (what == CURL_POLL_REMOVE) {
    epoll_ctl(self->events.get(), EPOLL_CTL_DEL, socket, &event);
    return 0;
  }
  if ((what & CURL_POLL_IN) != 0) event.events |= EPOLLIN;
  if ((what & CURL_POLL_OUT) != 0) event.events |= EPOLLOUT;
  if (epoll_ctl(self->events.get(), EPOLL_CTL_ADD, socket, &event) != 0 && errno == EEXIST)
    epoll_ctl(self->events.get(), EPOLL_CTL_MOD, socket, &event);
  return 0;
}

int Client::Impl::set_timer(CURLM*, long milliseconds, Impl* self) noexcept {
  self->timer.reset();
  if (milliseconds >= 0) self->timer = Steady::now() + std::chrono::milliseconds{milliseconds};
  return 0;
}

// ---- Client

Client::Client(ClientOptions options) : impl_(std::make_unique<Impl>(std::move(options))) {}
Client::~Client() = default;
void Client::send(Call call, Done done) { impl_->send(std::move(call), std::move(done)); }
std::vector<Client::HostLoad> Client::load() { return impl_->load(); }
void Client::stop() { impl_->stop(); }

}  // namespace tidemill::http
