// Many tasks from JSON lines. The text of a payload is kept as it was written, digit by digit: a number that
// was read and written again could come out another way.
#include <algorithm>
#include <fstream>
#include <istream>
#include <ostream>
#include <vector>

#include <fmt/format.h>
#include <boost/json.hpp>

#include <tidemill/client.hpp>
#include <tidemill/json.hpp>

#include "cli/enqueue.hpp"
#include "wire/raw_json.hpp"
#include "wire/values.hpp"

namespace tidemill::cli {

namespace {

namespace bj = boost::json;

/// Enough that a commit costs little, and little enough that answers come soon.
constexpr std::size_t batch_lines = 1000;
constexpr std::size_t batch_bytes = 8U << 20U;

[[noreturn]] void refuse(std::string_view field, std::string_view what) {
  throw Error{ErrorKind::invalid, fmt::format("field \"{}\": {}", field, what)};
}

std::string text_of(const std::string& field, TextType type, const bj::value& value) {
  const bool flag = type == TextType::truth || type == TextType::key;
  if (flag && value.is_bool()) return value.get_bool() ? "true" : "false";
  if (type == TextType::number && value.is_int64()) return std::to_string(value.get_int64());
  if (type != TextType::truth && type != TextType::number && value.is_string())
    return std::string{value.get_string()};
  switch (type) {
    case TextType::number:
      refuse(field, "must be a whole number");
    case TextType::truth:
      refuse(field, "must be true or false");
    case TextType::key:
      refuse(field, "must be true, false or a text in quotes");
    case TextType::text:
      break;
  }
  refuse(field, "must be a text in quotes");
}

void read_headers(const bj::value& value, Draft& draft) {
  if (!value.is_object()) refuse("headers", R"(must be an object such as {"trace":"7f"})");
  for (const auto& [name, text] : value.get_object()) {
    if (!text.is_string())
      refuse("headers", fmt::format("the value of \"{}\" must be a text in quotes", std::string{name}));
    draft.task.options.headers[std::string{name}] = text.get_string();
  }
}

std::vector<std::string> known_fields() {
  std::vector<std::string> names{"kind", "payload", "payload_text", "headers"};
  for (const TaskOption& option : task_options()) {
    if (option.name == "header") continue;
    names.push_back(option.name);
    std::replace(names.back().begin(), names.back().end(), '-', '_');
  }
  return names;
}

void read_option(const std::string& field, const bj::value& value, Draft& draft) {
  std::string name = field;
  std::replace(name.begin(), name.end(), '_', '-');
  for (const TaskOption& option : task_options()) {
    if (option.name != name || name == "header" || field.find('-') != std::string::npos) continue;
    const std::string text = text_of(field, option.json, value);
    if (option.json == TextType::key && value.is_bool()) {
      draft.is_unique = value.get_bool();
      draft.unique.key.clear();
      return;
    }
    try {
      option.set(draft, text);
    } catch (const Error& error) {
      refuse(field, error.what());
    }
    return;
  }
  throw Error{ErrorKind::invalid,
              fmt::format("there is no field \"{}\"{}", field, wire::suggestion(field, known_fields()))};
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
    std::string text;
    json::Writer writer{text};
    writer.open('{');
    writer.member("line", line.number);
    writer.member("put", to_string(answer.put));
    if (!answer.id.empty()) writer.member("id", answer.id);
    if (!answer.why.empty()) writer.member("why", answer.why);
    writer.close('}');
    io_.out << text << '\n';
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

void read_line(std::string_view line, Draft& draft) {
  bj::error_code failure;
  const bj::value value = bj::parse(bj::string_view{line.data(), line.size()}, failure);
  if (failure) throw Error{ErrorKind::invalid, fmt::format("this is no JSON ({})", failure.message())};
  if (!value.is_object())
    throw Error{ErrorKind::invalid, R"(this is no object; write {"kind":"mail:send","payload":…})"};
  const bj::object& object = value.get_object();
  if (object.contains("payload") && object.contains("payload_text")) {
    refuse("payload_text", "there is a payload as well; give one of them");
  }
  for (const auto& [name, member] : object) {
    const std::string field{name};
    if (field == "kind") {
      draft.task.kind = text_of(field, TextType::text, member);
    } else if (field == "payload") {
      const std::string_view raw = wire::raw_member(line, field);
      draft.task.payload = raw.empty() ? bj::serialize(member) : std::string{raw};
    } else if (field == "payload_text") {
      draft.task.payload = text_of(field, TextType::text, member);
    } else if (field == "headers") {
      read_headers(member, draft);
    } else {
      read_option(field, member, draft);
    }
  }
  if (!object.contains("kind")) refuse("kind", "is missing");
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
