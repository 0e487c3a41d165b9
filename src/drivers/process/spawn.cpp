#include "drivers/process/spawn.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstddef>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

#include <fmt/format.h>

extern char** environ;  // NOLINT(readability-redundant-declaration): POSIX leaves it to us.

namespace tidemill::process {

namespace {

/// Above the three that the child's own will lie on.
Fd above_standard(Fd fd) {
  if (fd.get() > STDERR_FILENO) return fd;
  Fd moved{fcntl(fd.get(), F_DUPFD_CLOEXEC, STDERR_FILENO + 1)};
  if (!moved.open()) fail("a pipe", errno);
  return moved;
}

std::vector<std::string> environment_of(const Command& command) {
  std::vector<std::string> out;
  for (const auto& [name, value] : command.environment) out.push_back(fmt::format("{}={}", name, value));
  for (char** at = environ; *at != nullptr; ++at) {
    const std::string_view entry{*at};
    const std::string name{entry.substr(0, entry.find('='))};
    const bool withheld = std::ranges::find(command.withheld, name) != command.withheld.end();
    if (!withheld && !command.environment.contains(name)) out.emplace_back(entry);
  }
  return out;
}

std::string path_of(const std::vector<std::string>& variables) {
  for (const std::string& variable : variables) {
    if (variable.starts_with("PATH=")) return variable.substr(5);
  }
  return "/usr/local/bin:/usr/bin:/bin";
}

/// Where the program is. Looked for here, as the child may allocate nothing and its errors are bare numbers.
std::string locate(const std::string& program, const std::string& path) {
  if (program.find('/') != std::string::npos) return program;
  for (std::size_t at = 0; at <= path.size() && !program.empty();) {
    const std::size_t end = std::min(path.find(':', at), path.size());
    const std::string candidate = fmt::format("{}/{}", path.substr(at, end - at), program);
    struct stat found{};
    const bool file = end > at && stat(candidate.c_str(), &found) == 0 && S_ISREG(found.st_mode);
    if (file && access(candidate.c_str(), X_OK) == 0) return candidate;
    at = end + 1;
  }
  throw std::runtime_error{
      fmt::format("the command can't be started: there is no program \"{}\" in PATH ({})", program, path)};
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> out;
  for (std::string& text : texts) out.push_back(text.data());
  out.push_back(nullptr);
  return out;
}

struct Limit {
  int resource = 0;
  rlim_t soft = 0, hard = 0;
};

std::vector<Limit> limits_of(const Limits& limits) {
  std::vector<Limit> out;
  const auto seconds = static_cast<rlim_t>(limits.cpu.count());
  if (limits.memory_bytes > 0) out.push_back({RLIMIT_AS, limits.memory_bytes, limits.memory_bytes});
  // SIGXCPU first, and SIGKILL a second later for those who take no notice.
  if (seconds > 0) out.push_back({RLIMIT_CPU, seconds, seconds + 1});
  if (limits.files > 0) out.push_back({RLIMIT_NOFILE, limits.files, limits.files});
  return out;
}

enum class Step : int { directory, limits, program };

/// What the child tells when it could not become the command.
struct Failure {
  Step step = Step::program;
  int code = 0;
};

/// All that the child needs, made before it is.
struct Child {
  const char* program = nullptr;
  char* const* argv = nullptr;
  char* const* envp = nullptr;
  const char* directory = nullptr;  ///< Null: as ours.
  const Limit* limits = nullptr;
  std::size_t limit_count = 0;
  int in = -1, out = -1, err = -1, status = -1;
};

constexpr int status_fd = STDERR_FILENO + 1;

[[noreturn]] void give_up(Step step) {
  const Failure failure{step, errno};
  (void)!write(status_fd, &failure, sizeof failure);
  _exit(127);
}

void apply(const Limit& limit) {
  rlimit now{};
  if (getrlimit(static_cast<__rlimit_resource>(limit.resource), &now) != 0) give_up(Step::limits);
  // What is tighter already stays so.
  now.rlim_max = std::min(now.rlim_max, limit.hard);
  now.rlim_cur = std::min(now.rlim_max, limit.soft);
  if (setrlimit(static_cast<__rlimit_resource>(limit.resource), &now) != 0) give_up(Step::limits);
}

/// In the child, which shares our memory: system calls only.
[[noreturn]] void become(const Child& child) {
  struct sigaction standard{};
  standard.sa_handler = SIG_DFL;
  for (int number = 1; number < NSIG; ++number) sigaction(number, &standard, nullptr);
  setpgid(0, 0);
  dup2(child.in, STDIN_FILENO);
  dup2(child.out, STDOUT_FILENO);
  dup2(child.err, STDERR_FILENO);
  // Is closed by a successful exec, and so tells of it.
  if (child.status != status_fd) dup3(child.status, status_fd, O_CLOEXEC);
  close_range(status_fd + 1, UINT_MAX, 0);
  if (child.directory != nullptr && chdir(child.directory) != 0) give_up(Step::directory);
  for (std::size_t i = 0; i < child.limit_count; ++i) apply(child.limits[i]);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  execve(child.program, child.argv, child.envp);
  give_up(Step::program);
}

/// vfork, as fork would copy the page tables of a large process, and posix_spawn knows no limits. A signal
/// handler must not run in the child, where it would work on our memory, so signals are blocked meanwhile.
[[gnu::noinline]] pid_t start(const Child& child) {
  const pid_t pid = vfork();  // NOLINT(bugprone-unsafe-functions): see above
  if (pid == 0) become(child);
  return pid;
}

pid_t start_without_signals(const Child& child) {
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const pid_t pid = start(child);
  const int code = errno;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (pid < 0) fail("a process", code);
  return pid;
}

void reap(pid_t pid) {
  while (waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
  }
}

[[noreturn]] void fail_at(const Failure& failure, const Command& command, const std::string& program) {
  switch (failure.step) {
    case Step::directory:
      fail(fmt::format("directory {}", command.directory), failure.code);
    case Step::limits:
      fail("its limits", failure.code);
    case Step::program:
      break;
  }
  fail(program, failure.code);
}

}  // namespace

void fail(std::string_view what, int code) {
  throw std::system_error{code, std::generic_category(),
                          fmt::format("the command can't be started: {}", what)};
}

Pipe::Pipe() {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) fail("a pipe", errno);
  read = Fd{ends[0]};
  write = Fd{ends[1]};
  read = above_standard(std::move(read));
  write = above_standard(std::move(write));
}

pid_t spawn(const Command& command, const Pipe& in, const Pipe& out, const Pipe& err) {
  std::vector<std::string> arguments = command.argv;
  if (arguments.empty()) arguments = {"/bin/sh", "-c", command.shell};
  std::vector<std::string> variables = environment_of(command);
  const std::string program = locate(arguments.front(), path_of(variables));
  const std::vector<char*> argv = pointers(arguments);
  const std::vector<char*> envp = pointers(variables);
  const std::vector<Limit> limits = limits_of(command.limits);

  Pipe status;
  const pid_t pid =
      start_without_signals({.program = program.c_str(),
                             .argv = argv.data(),
                             .envp = envp.data(),
                             .directory = command.directory.empty() ? nullptr : command.directory.c_str(),
                             .limits = limits.data(),
                             .limit_count = limits.size(),
                             .in = in.read.get(),
                             .out = out.write.get(),
                             .err = err.write.get(),
                             .status = status.write.get()});
  status.write.close();
  Failure failure;
  ssize_t count = 0;
  do {
    count = read(status.read.get(), &failure, sizeof failure);
  } while (count < 0 && errno == EINTR);
  if (count == sizeof failure) {
    reap(pid);
    fail_at(failure, command, program);
  }
  return pid;
}

}  // namespace tidemill::process
