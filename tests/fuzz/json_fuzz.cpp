// What programs send as JSON, and the small languages around it: tasks, schedules, filters, templates.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include <tidemill/error.hpp>
#include <tidemill/json.hpp>

#include "deliver/template.hpp"
#include "wire/action_json.hpp"
#include "wire/admin_json.hpp"
#include "wire/json_read.hpp"
#include "wire/json_write.hpp"
#include "wire/raw_json.hpp"
#include "wire/task_filter.hpp"
#include "wire/task_json.hpp"

namespace {

using namespace tidemill;

void check(bool right) {
  if (!right) std::abort();
}

template <class Read>
void refuses_or(Read read) {
  try {
    read();
  } catch (const wire::BadValue&) {
    return;
  } catch (const Error& error) {
    check(error.kind() == ErrorKind::invalid);
  }
}

/// A value's own text is JSON again, all the way down.
void walk(const wire::JsonValue& value) {
  if (value.is_array()) {
    for (const wire::JsonValue& each : value.elements()) walk(each);
  } else if (value.is_object()) {
    for (const auto& [name, each] : value.members()) walk(each);
  }
  check(wire::is_json(value.raw()));
}

/// What was read is written so that it reads the same.
void task(const wire::JsonValue& value) {
  const NewTask read = wire::read_task(value);
  std::string text;
  json::Writer writer{text};
  wire::write_new_task(writer, read);
  const NewTask again = wire::read_task(wire::JsonDocument{text}.root());
  check(again.kind == read.kind && again.payload == read.payload && again.options.id == read.options.id);
}

/// What an edit makes of a task is written so that it makes the same of another.
void edit(const wire::JsonValue& value) {
  NewTask read;
  wire::read_edit(value, read);
  Task task;
  task.kind = read.kind;
  task.payload = read.payload;
  task.headers = read.options.headers;
  task.deadline = read.options.deadline;
  std::string text;
  json::Writer writer{text};
  wire::write_edit(writer, task);
  NewTask again{.payload = "before", .options = {.deadline = TimePoint{}}};
  wire::read_edit(wire::JsonDocument{text}.root(), again);
  check(again.kind == read.kind && again.payload == read.payload &&
        again.options.headers == read.options.headers && again.options.deadline == read.options.deadline);
}

/// What an act needs to know is written so that it reads the same.
void params(const wire::JsonValue& value) {
  const wire::ActionParams read = wire::read_params(value);
  const Act act = read.queue.empty() ? Act::reschedule : Act::move;
  const Action action = wire::to_action(act, read, TimePoint{}, "");
  const std::string text =
      wire::object([&](json::Writer& writer) { wire::write_action_members(writer, action); });
  const wire::JsonDocument document{text};
  for (const auto& [name, each] : document.root().members()) {
    if (name != "params") continue;
    const wire::ActionParams again = wire::read_params(each);
    check(again.queue == action.queue && again.run_at == action.run_at);
  }
}

void templates(std::string_view text) {
  Task task;
  task.ref = {"queue", "id"};
  task.kind = "kind";
  task.headers["a"] = "b";
  for (const std::string_view payload : {text, text.substr(0, text.find('\n'))}) {
    task.payload = payload;
    for (const auto use :
         {deliver::Template::Use::url, deliver::Template::Use::header, deliver::Template::Use::body}) {
      const deliver::TaskValues values{task, 1};
      refuses_or([&] { (void)deliver::Template{text, use}.render(values); });
      refuses_or([&] {
        (void)deliver::Template{R"({{payload.a}} {{payload.0.b}} "{{payload.a.c}}")", use}.render(values);
      });
    }
  }
}

void filter(std::string_view text) {
  const std::string written = wire::format_filter(wire::parse_filter(text));
  check(wire::format_filter(wire::parse_filter(written)) == written);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text{reinterpret_cast<const char*>(data), size};
  refuses_or([&] {
    const wire::JsonDocument document{text};
    walk(document.root());
    refuses_or([&] { task(document.root()); });
    refuses_or([&] { edit(document.root()); });
    refuses_or([&] { params(document.root()); });
    refuses_or([&] { (void)wire::read_schedule(document.root()); });
  });
  refuses_or([&] { filter(text); });
  templates(text);
  return 0;
}
