// Many tasks from JSON lines. The text of a payload is kept as it was written, digit by digit: a number that
// was read and written again could come out another way.
#include <algorithm>
#include <fstream>
#include <istream>
#include <ostream>
#include <vector>

#include <fmt/format.h>

#include <tidemill/client.hpp>
#include <tidemill/json.hpp>

#include "cli/enqueue.hpp"
#include "cli/show.hpp"
#include "wire/json_read.hpp"
#include "wire/task_json.hpp"
#include "wire/values.hpp"

namespace tidemill::cli {

namespace {

/// Enough that a commit costs little, and little enough that answers come soon.
constexpr std::size_t batch_lines = 1000;
constexpr std::size_t batch_bytes = 8U << 20U;

/// The option's value, as it would stand on the command line.
std::string text_of(TextType type, const wire::JsonValue& value) {
  switch (type) {
    case TextType::number:
      return std::to_string(value.small());
    case TextType::truth:
      return value.truth() ? "true" : "false";
    case TextType::key:
      if (value.is_bool()) return value.truth() ? "true" : "false";
      if (!value.is_text()) value.refuse("must be true, false or a text in quotes");
      [[fallthrough]];
    case TextType::text:
      break;
  }
  return value.text();
}

/// The name in JSON lines of the option: `unique_for`.
std::string field_name(const TaskOption& option) {
  std::string name = option.name;
  std::ranges::replace(name, '-', '_');
  return name;
}

const TaskOption* find_option(std::string_view field) {
  for (const TaskOption& option : task_options()) {
    if (option.name != "header" && field_name(option) == field) return &option;
  }
  return nullptr;
}

void read_option(const TaskOption& option, const wire::JsonValue& value, Draft& draft) {
  const std::string text = text_of(option.json, value);
  if (option.json == TextType::key && value.is_bool()) {
    draft.is_unique = value.truth();
    draft.unique.key.clear();
    return;
  }
  value.checked([&] { option.set(draft, text); });
}

/// The API's fields, and the command line's options by their names.
void read_field(const std::string& name, const wire::JsonValue& value, Draft& draft) {
  const TaskOption* option = find_option(name);
  if (option != nullptr && !(option->json == TextType::key && value.is_object())) {
    read_option(*option, value, draft);
    return;
  }
  const auto members = wire::task_members();
  const auto member = std::ranges::find(members, std::string_view{name}, &wire::JsonMember<NewTask>::name);
  if (member != members.end()) {
    member->read(draft.task, value);
    return;
  }
  std::vector<std::string> names;
  for (const auto& each : members) names.emplace_back(each.name);
  for (const TaskOption& each : task_options()) names.push_back(field_name(each));
  throw Error{ErrorKind::invalid,
              fmt::format("there is no field \"{}\"{}", name, wire::suggestion(name, names))};
}

struct Line {
  std::size_t number = 0;
  NewTask task = {};
  Enqueued answer = {};
};

struct Counts {
  std::size_t enqueued = 0, existed = 0, refused = 0, read = 0;
};

/// Answers lines in their order, a batch at a time.
class LinesRun {
 public:
  LinesRun(const EnqueueArguments& arguments, const Io& io)
      : arguments_(arguments),
        io_(io),
        store_(open_store(arguments.store, Access::create)),
        client_(*store_) {}

  Counts run(std::istream& in);

 private:
  void take(std::size_t number, const std::string& text);
  void flush();
  void answer(const Line& line);
  void tell_progress();

  const EnqueueArguments& arguments_;
  const Io& io_;
  std::unique_ptr<Store> store_;
  Client client_;
  std::vector<Line> batch_;
  std::size_t bytes_ = 0;
  Counts counts_;
};

Counts LinesRun::run(std::istream& in) {
  std::string text;
  for (std::size_t number = 1; std::getline(in, text); ++number) {
    if (text.find_first_not_of(" \t\r\n") == std::string::npos) continue;
    ++counts_.read;
    take(number, text);
    bytes_ += text.size();
    // What has been read does not wait for a producer that takes its time.
    const bool idle = in.rdbuf()->in_avail() <= 0;
    if (idle || batch_.size() >= batch_lines || bytes_ >= batch_bytes) flush();
  }
  flush();
  if (in.bad()) throw Error{ErrorKind::unavailable, "the input could not be read to its end"};
  return counts_;
}

void LinesRun::take(std::size_t number, const std::string& text) {
  Line line{.number = number};
  try {
    Draft draft = arguments_.draft;
    read_line(text, draft);
    line.task = draft.finish();
  } catch (const Error& error) {
    line.answer = {Put::invalid, {}, error.what()};
  }
  batch_.push_back(std::move(line));
}

void LinesRun::flush() {
  std::vector<NewTask> tasks;
  std::vector<Line*> asked;
  for (Line& line : batch_) {
    if (line.answer.put == Put::invalid) continue;
    tasks.push_back(std::move(line.task));
    line.task.options = tasks.back().options;
    asked.push_back(&line);
  }
  try {
    std::vector<Enqueued> answers = client_.enqueue_all(tasks);
    for (std::size_t i = 0; i < asked.size(); ++i) asked[i]->answer = std::move(answers[i]);
  } catch (const Error& error) {
    throw Error{error.kind(), fmt::format("lines {} to {} were not enqueued: {}", batch_.front().number,
                                          batch_.back().number, error.what())};
  }
  for (const Line& line : batch_) answer(line);
  io_.out << std::flush;
  batch_.clear();
  bytes_ = 0;
  tell_progress();
}

void LinesRun::answer(const Line& line) {
  const Enqueued& answer = line.answer;
  const bool no = refused(answer, line.task.options);
  ++(no ? counts_.refused : answer.put == Put::exists ? counts_.existed : counts_.enqueued);
  if (arguments_.json) {
    io_.out << json_line([&](json::Writer& writer) {
      writer.member("line", line.number);
      writer.member("put", to_string(answer.put));
      wire::member_text(writer, "id", answer.id);
      wire::member_text(writer, "why", answer.why);
    });
  } else if (no) {
    io_.err << fmt::format("tidemill: line {}: {}\n", line.number, answer.why);
  } else {
    io_.out << answer.id << '\n';
  }
}

void LinesRun::tell_progress() {
  if (!io_.terminal && !arguments_.progress) return;
  if (counts_.read < batch_lines) return;
  io_.err << fmt::format("{}{} lines{}", io_.terminal ? "\r" : "", counts_.read, io_.terminal ? "" : "\n")
          << std::flush;
}

}  // namespace

void read_line(std::string_view line, Draft& draft) try {
  const wire::JsonDocument document{line};
  if (!document.root().is_object())
    throw Error{ErrorKind::invalid, R"(this is no object; write {"kind":"mail:send","payload":…})"};
  draft.task.kind.clear();
  draft.task.payload.clear();
  for (const auto& [name, value] : document.root().members()) read_field(name, value, draft);
  if (draft.task.kind.empty()) throw Error{ErrorKind::invalid, "field \"kind\": is missing"};
} catch (const wire::BadValue& bad) {
  if (bad.pointer().empty()) throw Error{ErrorKind::invalid, bad.what()};
  throw Error{ErrorKind::invalid, fmt::format("field \"{}\": {}", bad.pointer().substr(1), bad.what())};
}

int enqueue_lines(const EnqueueArguments& arguments, const Io& io) {
  std::ifstream file;
  if (arguments.lines != "-") {
    file.open(arguments.lines, std::ios::binary);
    if (!file) throw Error{ErrorKind::invalid, fmt::format("{} can't be read", arguments.lines)};
  }
  const Counts counts = LinesRun{arguments, io}.run(arguments.lines == "-" ? io.in : file);
  if (io.terminal && counts.read >= batch_lines) io.err << '\n';
  io.out << std::flush;
  io.err << fmt::format("enqueued {} of {}", counts.enqueued, counts.read);
  if (counts.existed > 0) io.err << fmt::format(", {} existed", counts.existed);
  if (counts.refused > 0) io.err << fmt::format(", {} refused", counts.refused);
  io.err << '\n';
  return counts.refused > 0 ? failed : ok;
}

}  // namespace tidemill::cli
