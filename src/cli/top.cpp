#include <algorithm>
#include <ostream>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <tidemill/inspector.hpp>

#include "cli/app.hpp"
#include "cli/options.hpp"
#include "cli/terminal.hpp"
#include "cli/top_view.hpp"

namespace tidemill::cli {

namespace {

constexpr const char* help_text = R"(Examples:
  tidemill top                        # q quits; arrow keys choose a queue, p pauses or resumes it
  tidemill top --interval 5s
  tidemill top --once                 # one frame as text, as where there is no terminal

Rates are outcomes a minute; workers send theirs every 8 s.)";

struct Arguments {
  StoreOption store = {};
  Duration interval = std::chrono::seconds{1};
  bool once = false;
};

std::string_view code_of(TopLine::Style style) {
  switch (style) {
    case TopLine::Style::head:
      return "\x1b[1m";
    case TopLine::Style::chosen:
      return "\x1b[7m";
    case TopLine::Style::trouble:
      return "\x1b[31m";
    case TopLine::Style::plain:
      break;
  }
  return "";
}

class Top {
 public:
  Top(Inspector& inspector, std::string store, Terminal& terminal)
      : inspector_(inspector), store_(std::move(store)), terminal_(terminal) {}

  void run(Duration interval) {
    auto next = std::chrono::steady_clock::now();
    look();
    while (true) {
      draw();
      next = std::max(next + interval, std::chrono::steady_clock::now());
      while (true) {
        std::string keys;
        const Terminal::Event event = terminal_.wait(next, keys);
        if (event == Terminal::Event::end) return;
        if (event == Terminal::Event::keys && !take(keys)) return;
        if (event != Terminal::Event::none) draw();
        if (std::chrono::steady_clock::now() >= next) break;
      }
      look();
    }
  }

 private:
  /// What can't be asked stays as it was, with the reason.
  void attempt(const std::function<void()>& work) {
    try {
      work();
    } catch (const Error& error) {
      snapshot_.trouble = error.what();
    }
  }

  void look() {
    attempt([&] { snapshot_ = take_top_snapshot(inspector_, store_); });
    chosen_ = std::min(chosen_, std::max<std::size_t>(snapshot_.queues.size(), 1) - 1);
  }

  void draw() {
    const auto [width, height] = terminal_.size();
    std::string page;
    for (const TopLine& line : render(snapshot_, chosen_, width, height)) {
      if (!page.empty()) page += '\n';
      const std::string_view code = code_of(line.style);
      page += fmt::format("{}{}{}", code, line.text, code.empty() ? "" : "\x1b[0m");
    }
    terminal_.draw(page);
  }

  /// False for the key that quits.
  bool take(std::string_view keys) {
    for (; !keys.empty(); keys.remove_prefix(1)) {
      const bool escape = keys.starts_with("\x1b[") || keys.starts_with("\x1bO");
      if (escape) keys.remove_prefix(std::min<std::size_t>(2, keys.size() - 1));
      const char key = keys.front();
      if (!escape && key == 'q') return false;
      if (!escape && key == 'p') turn();
      if (escape && key == 'A' && chosen_ > 0) --chosen_;
      if (escape && key == 'B' && chosen_ + 1 < snapshot_.queues.size()) ++chosen_;
    }
    return true;
  }

  void turn() {
    if (chosen_ >= snapshot_.queues.size()) return;
    attempt([&] {
      const QueueInfo queue = snapshot_.queues[chosen_];
      queue.paused ? inspector_.resume(queue.name) : inspector_.pause(queue.name);
      snapshot_ = take_top_snapshot(inspector_, store_);
    });
  }

  Inspector& inspector_;
  const std::string store_;
  Terminal& terminal_;
  TopSnapshot snapshot_ = {};
  std::size_t chosen_ = 0;
};

int top(const Arguments& arguments, const Io& io) {
  const std::string url = url_of(arguments.store);
  if (arguments.once || !Terminal::is_there()) {
    const auto store = open_store(arguments.store, Access::existing);
    Inspector inspector{*store};
    for (const TopLine& line : render(take_top_snapshot(inspector, url), 0, 0, 0))
      io.out << line.text << '\n';
    return ok;
  }
  // First, so that the threads of the store have its signals blocked.
  Terminal terminal{io.out};
  const auto store = open_store(arguments.store, Access::existing);
  Inspector inspector{*store};
  Top{inspector, url, terminal}.run(arguments.interval);
  return ok;
}

}  // namespace

void add_top(Commands& commands) {
  CLI::App& command = commands.add("top", "Shows queues, workers and kinds, again and again", help_text);
  const auto arguments = std::make_shared<Arguments>();
  add_store(command, arguments->store);
  add_text(command, "--interval", "DURATION", "How often to look (1s)", [arguments](const std::string& text) {
    arguments->interval = wire::parse_duration(text);
    if (arguments->interval < std::chrono::milliseconds{100})
      throw Error{ErrorKind::invalid, fmt::format("\"{}\" is too short; 100ms is the least", text)};
  });
  command.add_flag("--once", arguments->once, "Prints one frame and ends");
  commands.runs(command, [arguments](const Io& io) { return top(*arguments, io); });
}

}  // namespace tidemill::cli
