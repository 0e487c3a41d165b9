#include "cli/task_options.hpp"

#include <algorithm>
#include <array>
#include <limits>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <tidemill/error.hpp>

#include "cli/options.hpp"
#include "wire/values.hpp"

namespace tidemill::cli {

namespace {

constexpr std::array conflicts = {OnConflict::keep, OnConflict::reject, OnConflict::replace};

std::int32_t integer(std::string_view text) {
  // What makes sense is the library's to say.
  return static_cast<std::int32_t>(wire::parse_integer(text, std::numeric_limits<std::int32_t>::min(),
                                                       std::numeric_limits<std::int32_t>::max()));
}

bool truth(std::string_view text) {
  if (text != "true" && text != "false") {
    throw Error{ErrorKind::invalid, fmt::format("\"{}\" is neither true nor false", text)};
  }
  return text == "true";
}

void set_on_conflict(Draft& draft, std::string_view text) {
  draft.unique.on_conflict = wire::parse_name<OnConflict>("way out of a conflict", text, conflicts);
  draft.has_unique_details = true;
}

void set_unique(Draft& draft, std::string_view key) {
  draft.is_unique = true;
  draft.unique.key = key;
}

void set_window(Draft& draft, std::string_view text) {
  draft.unique.window = wire::parse_duration(text);
  draft.has_unique_details = true;
}

void set_outlives(Draft& draft, std::string_view text) {
  draft.unique.outlives_task = truth(text);
  draft.has_unique_details = true;
}

EnqueueOptions& options(Draft& draft) { return draft.task.options; }

// Half of a sentence each, as they stand in --help.
const std::array<TaskOption, 18> table = {{
    {"queue", "NAME", "Its queue (default)", TextType::text,
     [](Draft& d, std::string_view t) { options(d).queue = t; }},
    {"id", "ID", "Its id, unique in the queue; a second task with it is not made", TextType::text,
     [](Draft& d, std::string_view t) { options(d).id = t; }, false},
    {"delay", "DURATION", "Not before so long from now: 90s, 5m, 1h30m, 2d", TextType::text,
     [](Draft& d, std::string_view t) { options(d).delay = wire::parse_duration(t); }, false},
    {"at", "TIME", "Not before: 2027-01-01T00:00:00Z", TextType::text,
     [](Draft& d, std::string_view t) { options(d).run_at = wire::parse_time(t); }, false},
    {"priority", "N", "-100 to 100; higher runs first within its queue", TextType::number,
     [](Draft& d, std::string_view t) { options(d).priority = integer(t); }},
    {"retries", "N", "How often it is tried again after a failure (25)", TextType::number,
     [](Draft& d, std::string_view t) { options(d).retries_max = integer(t); }},
    {"crashes", "N", "How many deaths of its worker it may see (3); at 0 nothing runs twice",
     TextType::number, [](Draft& d, std::string_view t) { options(d).crashes_max = integer(t); }},
    {"timeout", "DURATION", "Longest run of an attempt (30m); 0: no limit", TextType::text,
     [](Draft& d, std::string_view t) { options(d).timeout = wire::parse_duration(t); }},
    {"deadline", "TIME", "Stopped and archived if it has not ended by then", TextType::text,
     [](Draft& d, std::string_view t) { options(d).deadline = wire::parse_time(t); }, false},
    {"expires", "TIME", "Archived if no attempt has started by then", TextType::text,
     [](Draft& d, std::string_view t) { options(d).expires_at = wire::parse_time(t); }, false},
    {"unique", "KEY", "One task at a time with this key; without a KEY: with this kind and payload",
     TextType::key, set_unique},
    {"unique-for", "DURATION", "The key is held for so long at most", TextType::text, set_window},
    {"unique-outlives-task", "", "The key is held for all of that, also when the task has ended before",
     TextType::truth, set_outlives},
    {"on-conflict", "WAY",
     "When the key is taken: keep the first (default), reject the second, or replace a first "
     "that has not started",
     TextType::text, set_on_conflict},
    {"group", "NAME", "Waits in this group of its queue", TextType::text,
     [](Draft& d, std::string_view t) { options(d).group = t; }},
    {"retention", "DURATION", "How long a success and its result are kept (0)", TextType::text,
     [](Draft& d, std::string_view t) { options(d).retention = wire::parse_duration(t); }},
    {"held", "", "Starts as held; `tidemill tasks resume` lets it go", TextType::truth,
     [](Draft& d, std::string_view t) { options(d).held = truth(t); }, false},
    {"header", "NAME=VALUE", "A header; may be given several times", TextType::text, set_header},
}};

}  // namespace

std::span<const TaskOption> task_options() { return table; }

void set_header(Draft& draft, std::string_view text) {
  const auto sign = text.find('=');
  if (sign == std::string_view::npos || sign == 0) {
    throw Error{ErrorKind::invalid, fmt::format("\"{}\" is no header; write NAME=VALUE", text)};
  }
  draft.task.options.headers[std::string{text.substr(0, sign)}] = text.substr(sign + 1);
}

NewTask Draft::finish() const {
  if (has_unique_details && !is_unique) {
    throw Error{ErrorKind::invalid, "there is more about a unique key, but none is asked for; add unique"};
  }
  NewTask finished = task;
  if (is_unique) finished.options.unique = unique;
  return finished;
}

void add_task_options(CLI::App& command, Draft& draft, bool schedule) {
  for (const TaskOption& option : task_options()) {
    if (schedule && !option.in_schedules) continue;
    const std::string name = "--" + option.name;
    const auto take = [&draft, set = option.set](const std::string& text) { set(draft, text); };
    if (option.json == TextType::truth) {
      command.add_flag_callback(name, [take] { take("true"); }, option.what);
    } else if (option.json == TextType::key) {
      // A flag, so that `--unique KIND` does not take the kind for its key; the braces make its bare value
      // empty.
      const CLI::Option* unique = command.add_flag(name + "{}", draft.unique.key, option.what);
      command.parse_complete_callback([&draft, unique] { draft.is_unique = unique->count() > 0; });
    } else if (option.name == "header") {
      add_texts(command, name, option.type, option.what, take);
    } else {
      add_text(command, name, option.type, option.what, take);
    }
  }
}

}  // namespace tidemill::cli
