#pragma once

#include <functional>
#include <iosfwd>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace CLI {
class App;
}

/// The command line as a function: one file a command, each of which adds itself to the app.
namespace tidemill::cli {

/// What a command reads and writes; tests put strings in their place.
struct Io {
  std::istream& in;
  std::ostream& out;
  std::ostream& err;
  bool terminal = false;  ///< A person looks at `err`.
};

// Exit codes.
inline constexpr int ok = 0;
inline constexpr int failed = 1;
inline constexpr int wrong_usage = 2;

/// The command was called in a wrong way. The message says what would be right.
struct Usage {
  std::string message;
};

/// Runs after the arguments have been read, and answers the exit code.
using Program = std::function<int(const Io&)>;

class Commands {
 public:
  explicit Commands(CLI::App& app) : app_(app) {}

  /// `help` is the footer of --help: examples, mostly.
  CLI::App& add(CLI::App& parent, const std::string& name, const std::string& what, const std::string& help);
  CLI::App& add(const std::string& name, const std::string& what, const std::string& help) {
    return add(app_, name, what, help);
  }
  void runs(const CLI::App& command, Program program) { programs_[&command] = std::move(program); }

  const Program* find(const CLI::App& command) const;

 private:
  CLI::App& app_;
  std::map<const CLI::App*, Program> programs_;
};

void add_enqueue(Commands& commands);
void add_tasks(Commands& commands);
void add_queues(Commands& commands);
void add_schedules(Commands& commands);
void add_workers(Commands& commands);
void add_work(Commands& commands);
void add_serve(Commands& commands);
void add_check_config(Commands& commands);
void add_doctor(Commands& commands);
void add_top(Commands& commands);
void add_migrate(Commands& commands);
void add_version(Commands& commands);
void add_bench(Commands& commands);
void add_bench_receiver(Commands& commands);

/// The whole program: `arguments` without its own name.
int run(std::vector<std::string> arguments, const Io& io);

}  // namespace tidemill::cli
