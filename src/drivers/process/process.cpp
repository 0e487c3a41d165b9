#include "drivers/process/process.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstring>
#include <optional>
#include <utility>

#include "drivers/process/spawn.hpp"

namespace tidemill::process {

namespace {

void make_nonblocking(const Fd& fd) { fcntl(fd.get(), F_SETFL, fcntl(fd.get(), F_GETFL) | O_NONBLOCK); }

/// A command may end before it has read all of its input. This thread then gets EPIPE, and must not get
/// SIGPIPE.
class NoSigpipe {
 public:
  NoSigpipe() {
    sigemptyset(&pipe_);
    sigaddset(&pipe_, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_, &before_);
  }
  ~NoSigpipe() {
    const timespec at_once{};
    while (sigismember(&before_, SIGPIPE) == 0 && sigtimedwait(&pipe_, nullptr, &at_once) == SIGPIPE) {
    }
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  NoSigpipe(const NoSigpipe&) = delete;
  NoSigpipe& operator=(const NoSigpipe&) = delete;

 private:
  sigset_t pipe_{};
  sigset_t before_{};
};

/// Cuts stderr into lines.
class Lines {
 public:
  explicit Lines(const Command& command) : command_(command) {}

  void add(std::string_view bytes) {
    for (const char c : bytes) {
      if (c == '\n') {
        flush();
      } else if (line_.size() < command_.line_bytes_max) {
        line_ += c;
      }
    }
  }
  void flush() {
    if (!line_.empty()) {
      if (command_.on_error_line) command_.on_error_line(line_);
      last_ = std::exchange(line_, {});
    }
  }
  std::string take_last() { return std::move(last_); }

 private:
  const Command& command_;
  std::string line_;
  std::string last_;
};

/// One run: feeds the input, drains both outputs, and minds the clock, all in one poll loop, so that no full
/// pipe can stop both sides for good.
class Run {
 public:
  explicit Run(const Command& command)
      : command_(command), lines_(command), stop_event_(eventfd(0, EFD_CLOEXEC)) {
    if (!stop_event_.open()) fail("an event", errno);
    Pipe in;
    Pipe out;
    Pipe err;
    pid_ = spawn(command, in, out, err);
    // By its number, as glibc 2.36 declares pidfd_open for C alone.
    process_ = Fd{static_cast<int>(syscall(SYS_pidfd_open, pid_, 0))};
    if (!process_.open()) {
      const int code = errno;
      reap();
      fail("its process", code);
    }
    input_ = std::move(in.write);
    output_ = std::move(out.read);
    errors_ = std::move(err.read);
    for (const Fd* fd : {&input_, &output_, &errors_}) make_nonblocking(*fd);
    if (command_.input.empty()) input_.close();
  }

  /// From any thread.
  void request_stop() {
    const std::uint64_t one = 1;
    (void)!write(stop_event_.get(), &one, sizeof one);
  }

  End finish() {
    while (step()) {
    }
    reap();
    drain(output_);
    drain(errors_);
    lines_.flush();
    end_.last_error_line = lines_.take_last();
    return std::move(end_);
  }

 private:
  using Steady = std::chrono::steady_clock;

  /// False: the command has ended.
  bool step() {
    std::array<pollfd, 5> fds{};
    fds[0] = {.fd = process_.get(), .events = POLLIN, .revents = 0};
    fds[1] = {.fd = end_.stopped ? -1 : stop_event_.get(), .events = POLLIN, .revents = 0};
    fds[2] = {.fd = input_.get(), .events = POLLOUT, .revents = 0};
    fds[3] = {.fd = output_.get(), .events = POLLIN, .revents = 0};
    fds[4] = {.fd = errors_.get(), .events = POLLIN, .revents = 0};
    if (poll(fds.data(), fds.size(), wait_ms()) < 0 && errno != EINTR) return true;
    if (fds[2].revents != 0) feed();
    if (fds[3].revents != 0) drain(output_);
    if (fds[4].revents != 0) drain(errors_);
    if (fds[0].revents != 0) return false;
    if (fds[1].revents != 0) terminate();
    if (kill_at_ && Steady::now() >= *kill_at_) {
      kill(-pid_, SIGKILL);
      kill_at_.reset();
    }
    return true;
  }

  int wait_ms() const {
    if (!kill_at_) return -1;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(*kill_at_ - Steady::now()).count();
    return static_cast<int>(std::clamp<std::int64_t>(left, 0, INT_MAX));
  }

  void terminate() {
    end_.stopped = true;
    kill(-pid_, SIGTERM);
    kill_at_ = Steady::now() + command_.grace;
  }

  void feed() {
    const std::size_t left = command_.input.size() - fed_;
    const ssize_t count = write(input_.get(), command_.input.data() + fed_, left);
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (count > 0) fed_ += static_cast<std::size_t>(count);
    if (count < 0 || fed_ == command_.input.size()) input_.close();
  }

  /// Reads what is there. One buffer a turn while it runs, so that a flood on one pipe leaves the others
  /// their turn.
  void drain(Fd& fd) {
    std::array<char, 16384> buffer{};
    while (fd.open()) {
      const ssize_t count = read(fd.get(), buffer.data(), buffer.size());
      if (count < 0 && errno == EINTR) continue;
      if (count < 0 && errno == EAGAIN) return;
      if (count <= 0) return fd.close();
      take(fd, {buffer.data(), static_cast<std::size_t>(count)});
      if (!reaped_) return;
      // After the end a process that has left the group may still write; what a pipe holds is enough of it.
      after_end_ += static_cast<std::size_t>(count);
      if (after_end_ > (1U << 20U)) return;
    }
  }

  void take(const Fd& fd, std::string_view bytes) {
    if (&fd == &errors_) return lines_.add(bytes);
    const std::size_t room = command_.output_bytes_max - end_.output.size();
    end_.output.append(bytes.substr(0, room));
    end_.output_cut = end_.output_cut || bytes.size() > room;
  }

  /// As long as the command is not waited for, its number is no other group's: so the group is killed first.
  void reap() {
    kill(-pid_, SIGKILL);
    int status = 0;
    while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    if (WIFEXITED(status)) end_.exit_code = WEXITSTATUS(status);
    if (WIFSIGNALED(status)) end_.signal = WTERMSIG(status);
    reaped_ = true;
  }

  const Command& command_;
  Lines lines_;
  Fd stop_event_, process_, input_, output_, errors_;
  pid_t pid_ = 0;
  std::size_t fed_ = 0;
  std::size_t after_end_ = 0;
  bool reaped_ = false;
  std::optional<Steady::time_point> kill_at_;
  End end_;
};

}  // namespace

End run(const Command& command, std::stop_token stop) {
  const NoSigpipe no_sigpipe;
  Run running{command};
  const std::stop_callback on_stop{stop, [&running] { running.request_stop(); }};
  return running.finish();
}

}  // namespace tidemill::process
