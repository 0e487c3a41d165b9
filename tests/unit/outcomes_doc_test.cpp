// docs/outcomes.md and docs/states.md are generated from core, so that they can't say anything else than the
// code does. How: the tables are made by calling the rules, and compared with what stands between the marks
// of the page. With TIDEMILL_UPDATE_DOCS=1 in the environment the pages are written instead.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "core/rules.hpp"
#include "core/transitions.hpp"
#include "places.hpp"

namespace tidemill {
namespace {

using namespace std::chrono_literals;

// ---- Pages

std::string read_file(const std::string& path) {
  std::ifstream in{path, std::ios::binary};
  return {std::istreambuf_iterator<char>{in}, {}};
}

/// Compares or writes what stands between the marks named `part` of a page.
void expect_part(const std::string& page, const std::string& part, const std::string& wanted) {
  const std::string path = testing::in_sources("docs/" + page);
  const std::string begin = fmt::format("<!-- generated: {} -->\n", part);
  const std::string end = "<!-- end -->";
  std::string text = read_file(path);
  const std::size_t from = text.find(begin);
  ASSERT_NE(from, std::string::npos) << path << " has no mark " << begin;
  const std::size_t to = text.find(end, from);
  ASSERT_NE(to, std::string::npos) << path << " has no mark " << end;
  const std::size_t start = from + begin.size();
  if (std::getenv("TIDEMILL_UPDATE_DOCS") != nullptr) {
    std::ofstream{path, std::ios::binary} << text.replace(start, to - start, wanted);
    return;
  }
  EXPECT_EQ(text.substr(start, to - start), wanted)
      << "the code has changed; run the unit tests with TIDEMILL_UPDATE_DOCS=1 and look at docs/" << page;
}

// ---- Outcomes

constexpr TimePoint now{std::chrono::sys_days{std::chrono::year{2030} / 1 / 1}};

struct Row {
  std::string what;
  Lease lease;
  Report report;
};

Lease lease_of(Task task, bool marked = false) {
  task.worker = "w1";
  return {.task = std::move(task), .started = marked};
}

std::string change_of(std::int32_t before, std::int32_t after) {
  if (after == before) return "–";
  if (after == 0) return "0";
  return fmt::format("+{}", after - before);
}

std::string state_of(const Report& report) {
  std::string text = fmt::format("`{}`", to_string(report.to));
  if (report.to == State::gone) text = "deleted";
  if (report.to == State::pending) text += report.front ? ", in its old place" : ", at the back";
  if (report.to == State::scheduled || report.to == State::retry) text += ", due after the delay";
  if (!report.reason.empty() && report.to != State::held) text += fmt::format(" (\"{}\")", report.reason);
  return text;
}

std::string kept_for(const Report& report) {
  if (report.to == State::completed) return "for its retention";
  return report.to == State::archived ? "for good" : "–";
}

std::string line_of(const Row& row) {
  const Task& task = row.lease.task;
  const Report& report = row.report;
  const std::string_view tally[] = {"–", "success", "failure", "crash"};
  return fmt::format("| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |\n", row.what, state_of(report),
                     change_of(task.attempt, report.attempt), change_of(task.retries, report.retries),
                     change_of(task.crashes, report.crashes), change_of(task.deferrals, report.deferrals),
                     report.release_key ? "yes" : "–", tally[static_cast<std::size_t>(report.tally)],
                     report.record ? "yes" : "–", kept_for(report));
}

constexpr std::string_view heading =
    "| what happened | the task is then | attempt | retries | crashes | deferrals | key released | counts as "
    "| "
    "attempt kept | task kept |\n|---|---|---|---|---|---|---|---|---|---|\n";

class Table {
 public:
  /// An attempt that ran and came to `outcome`.
  void ended(std::string what, Task task, const Outcome& outcome, StopReason stopped = StopReason::none,
             bool is_failure = true) {
    const RetryPolicy retry;
    const Lease lease = lease_of(std::move(task));
    const rules::Policy policy{retry, 1000, [=](std::string_view) { return is_failure; }};
    add(std::move(what), lease, rules::conclude({lease, outcome, stopped, now, 0.0}, policy));
  }
  void crashed(std::string what, Task task, bool marked) {
    const Lease lease = lease_of(std::move(task), marked);
    add(std::move(what), lease, rules::crashed(lease, now));
  }
  void add(std::string what, const Lease& lease, const Report& report) {
    text_ += line_of({std::move(what), lease, report});
  }
  std::string text() const { return std::string{heading} + text_; }

 private:
  std::string text_;
};

/// In the middle of its life, so that what goes to zero can be seen.
Task task() { return {.attempt = 3, .retries = 2, .deferrals = 1}; }

Task with(void (*change)(Task&)) {
  Task made = task();
  change(made);
  return made;
}

std::string own_accord() {
  Table table;
  table.ended("`success`, no retention", task(), Outcome::success("result"));
  table.ended("`success`, with a retention", with([](Task& t) { t.retention = 1h; }),
              Outcome::success("result"));
  table.ended("`failure`, retries left", task(), Outcome::failure("why"));
  table.ended("`retry_in`, retries left", task(), Outcome::retry_in(1s, "why"));
  table.ended("either, and `is_failure` says that it is none", task(), Outcome::failure("why"),
              StopReason::none, false);
  table.ended("`failure` or `retry_in`, none left", with([](Task& t) { t.retries = t.retries_max; }),
              Outcome::failure("why"));
  table.ended("`snooze`", task(), Outcome::snooze(1s));
  table.ended("`again` at once", task(), Outcome::again());
  table.ended("`again` after a delay", task(), Outcome::again(1s));
  table.ended("`snooze` or `again`, more than `deferrals_max` in a row",
              with([](Task& t) { t.deferrals = 1000; }), Outcome::again());
  table.ended("`discard`", task(), Outcome::discard("why"));
  table.ended("`archive`", task(), Outcome::archive("why"));
  return table.text();
}

std::string told_to_stop() {
  Table table;
  table.ended("cancelled", task(), Outcome::failure("why"), StopReason::cancel);
  table.ended("held", task(), Outcome::failure("why"), StopReason::hold);
  table.ended("timeout, retries left", task(), Outcome::failure("why"), StopReason::timeout);
  table.ended("timeout, none left", with([](Task& t) { t.retries = t.retries_max; }), Outcome::failure("why"),
              StopReason::timeout);
  table.ended("deadline", task(), Outcome::failure("why"), StopReason::deadline);
  table.ended("shutdown of the worker", task(), Outcome::failure("why"), StopReason::shutdown);
  table.ended("any of these, but it succeeded", task(), Outcome::success(), StopReason::cancel);
  return table.text();
}

std::string not_started() {
  Table table;
  const Lease plain = lease_of(task());
  const Lease late = lease_of(with([](Task& t) { t.deadline = now; }));
  const Lease expired = lease_of({.expires_at = now});
  table.add("its deadline has passed", late, rules::refuse(late, now).value());
  table.add("it has expired", expired, rules::refuse(expired, now).value());
  table.add("cancelled before it started", plain, rules::withdraw(plain, Signal::cancel));
  table.add("held before it started", plain, rules::withdraw(plain, Signal::hold));
  table.add("given back: queue paused, worker stopped", plain, rules::give_back(plain));
  table.add("no handler for its kind", plain, rules::unknown_kind(plain));
  return table.text();
}

std::string crashes() {
  Table table;
  table.crashed("the first crash of a worker that held it", {}, false);
  table.crashed("a later one, while it ran", {.crashes = 1}, true);
  table.crashed("a later one, while others ran", {.crashes = 1}, false);
  table.crashed("the last one allowed, while it ran", {.crashes = 2}, true);
  table.crashed("`crashes_max` 0 or 1, while it ran", {.crashes_max = 0}, true);
  table.crashed("`crashes_max` 0 or 1, before it ran", {.crashes_max = 0}, false);
  return table.text();
}

TEST(OutcomesDoc, SaysWhatTheRulesDo) {
  expect_part("outcomes.md", "of its own accord", own_accord());
  expect_part("outcomes.md", "told to stop", told_to_stop());
  expect_part("outcomes.md", "not started", not_started());
  expect_part("outcomes.md", "crashes", crashes());
}

// ---- States

constexpr std::string_view meanings[] = {"",
                                         "not due yet",
                                         "ready to be claimed",
                                         "leased to a worker",
                                         "failed, and waits for its next attempt",
                                         "succeeded, and kept for its retention",
                                         "given up or told to stop: the dead letters",
                                         "waits in a group, to become one task with the others",
                                         "stopped by an operator; can be resumed",
                                         "waits for other tasks; nothing makes use of it yet"};
static_assert(std::size(meanings) == state_count);

std::string states_table() {
  std::string text = "| state | stored as | meaning |\n|---|---|---|\n";
  for (std::size_t i = 1; i < state_count; ++i) {
    text += fmt::format("| `{}` | {} | {} |\n", to_string(static_cast<State>(i)), i, meanings[i]);
  }
  return text;
}

std::string moves_table() {
  const auto name = [](State state, std::string_view gone) {
    return state == State::gone ? std::string{gone} : fmt::format("`{}`", to_string(state));
  };
  std::string text = "| from | to | by |\n|---|---|---|\n";
  for (const Transition& move : transitions()) {
    text +=
        fmt::format("| {} | {} | {} |\n", name(move.from, "(new)"), name(move.to, "(deleted)"), move.cause);
  }
  return text;
}

/// The moves of a task's own life; what operators do besides is in the table.
std::string diagram() {
  const auto name = [](State state) { return state == State::gone ? "[*]" : to_string(state); };
  std::string text = "```mermaid\nstateDiagram-v2\n";
  for (const Transition& move : transitions()) {
    if (move.cause.starts_with("an operator") && move.from != State::active) continue;
    // A semicolon would end the label.
    std::string label{move.cause};
    for (char& c : label) c = c == ';' ? ',' : c;
    text += fmt::format("    {} --> {} : {}\n", name(move.from), name(move.to), label);
  }
  return text + "    held --> pending : an operator resumes or runs it\n```\n";
}

std::string list(States states) {
  std::string text;
  for (std::size_t i = 1; i < state_count; ++i) {
    const State state = static_cast<State>(i);
    if (!states.has(state) || state == State::active) continue;
    text += fmt::format("{}`{}`", text.empty() ? "" : ", ", to_string(state));
  }
  return text;
}

std::string acts_table() {
  std::string text =
      "| act | on tasks that are | makes them | counters start anew | key released | a running one |\n"
      "|---|---|---|---|---|---|\n";
  for (const Act act : rules::acts()) {
    for (const Change& change : rules::changes(act)) {
      text +=
          fmt::format("| `{}` | {} | {}{} | {} | {} | {} |\n", to_string(act), list(change.from),
                      change.to == State::gone ? "deleted" : fmt::format("`{}`", to_string(change.to)),
                      change.reason.empty() ? "" : fmt::format(" (\"{}\")", change.reason),
                      change.fresh ? "yes" : "–", change.release_key ? "yes" : "–",
                      change.from.has(State::active) ? "is told to stop by its stop token" : "is left alone");
    }
  }
  const auto kept = [&](std::string_view what, States states, std::string_view makes) {
    text += fmt::format("| `{}` | {} | {} | – | – | is left alone |\n", what, list(states), makes);
  };
  kept("move", rules::states_of(Act::move), "as they were, in another queue");
  kept("edit", rules::editable(), "as they were, with other values");
  return text;
}

TEST(StatesDoc, SaysWhatTheTableHas) {
  expect_part("states.md", "states", states_table());
  expect_part("states.md", "diagram", diagram());
  expect_part("states.md", "moves", moves_table());
  expect_part("states.md", "acts", acts_table());
}

}  // namespace
}  // namespace tidemill
