#include "cli/terminal.hpp"

#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <ostream>

#include <fmt/format.h>

#include <tidemill/error.hpp>

namespace tidemill::cli {

namespace {

// The other screen, no cursor, no wrapping; and back.
constexpr std::string_view enter = "\x1b[?1049h\x1b[?25l\x1b[?7l";
constexpr std::string_view leave = "\x1b[?7h\x1b[?25h\x1b[?1049l";

}  // namespace

bool Terminal::is_there() { return isatty(STDIN_FILENO) != 0 && isatty(STDOUT_FILENO) != 0; }

Terminal::Terminal(std::ostream& out) : out_(out) {
  sigset_t caught;
  sigemptyset(&caught);
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH}) sigaddset(&caught, number);
  signals_ = signalfd(-1, &caught, SFD_CLOEXEC);
  if (signals_ < 0 || tcgetattr(STDIN_FILENO, &before_) != 0) {
    const int failure = errno;
    if (signals_ >= 0) close(signals_);
    throw Error{ErrorKind::unavailable,
                fmt::format("the terminal can't be used: {}", strerrordesc_np(failure))};
  }
  pthread_sigmask(SIG_BLOCK, &caught, &mask_);
  termios raw = before_;
  raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
  raw.c_cc[VSUSP] = _POSIX_VDISABLE;  // Put to sleep, it would leave its page behind.
  tcsetattr(STDIN_FILENO, TCSANOW, &raw);
  out_ << enter << std::flush;
}

Terminal::~Terminal() {
  out_ << leave << std::flush;
  tcsetattr(STDIN_FILENO, TCSANOW, &before_);
  pthread_sigmask(SIG_SETMASK, &mask_, nullptr);
  close(signals_);
}

Terminal::Size Terminal::size() const {
  winsize size{};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0 || size.ws_row == 0) return {};
  return {size.ws_col, size.ws_row};
}

Terminal::Event Terminal::wait(std::chrono::steady_clock::time_point until, std::string& keys) {
  const auto left =
      std::chrono::ceil<std::chrono::milliseconds>(until - std::chrono::steady_clock::now()).count();
  std::array<pollfd, 2> sources{{{signals_, POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}}};
  if (poll(sources.data(), sources.size(), static_cast<int>(std::clamp<std::int64_t>(left, 0, 60'000))) <= 0)
    return Event::none;
  if (sources[0].revents != 0) {
    signalfd_siginfo info{};
    if (read(signals_, &info, sizeof info) != sizeof info) return Event::none;
    return info.ssi_signo == SIGWINCH ? Event::resized : Event::end;
  }
  std::array<char, 64> typed{};
  const ssize_t count = read(STDIN_FILENO, typed.data(), typed.size());
  if (count <= 0) return count < 0 && errno == EINTR ? Event::none : Event::end;  // The terminal is gone.
  keys.assign(typed.data(), static_cast<std::size_t>(count));
  return Event::keys;
}

void Terminal::draw(std::string_view page) {
  std::string bytes = "\x1b[H";
  for (const char c : page) bytes += c == '\n' ? "\x1b[K\r\n" : std::string(1, c);
  out_ << bytes << "\x1b[K\x1b[J" << std::flush;
}

}  // namespace tidemill::cli
