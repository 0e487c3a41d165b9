#include "server/operation_notes.hpp"

#include <array>

#include "server/problem.hpp"
#include "wire/json_read.hpp"
#include "wire/json_write.hpp"

namespace tidemill::server {

namespace {

constexpr std::string_view folder = "operations";
/// From the last change on: an operation that ended a week ago is gone itself.
constexpr Duration kept = std::chrono::hours{24 * 90};
constexpr int tries = 10;

using wire::JsonMember;
using wire::JsonValue;

BulkResult::Failure read_failure(const JsonValue& value) {
  using Failure = BulkResult::Failure;
  static constexpr std::array whys = {Changed::failed, Changed::exists, Changed::conflict};
  static constexpr std::array members = {
      JsonMember<Failure>{"queue", [](Failure& f, const JsonValue& v) { f.ref.queue = v.text(); }},
      JsonMember<Failure>{"id", [](Failure& f, const JsonValue& v) { f.ref.id = v.text(); }},
      JsonMember<Failure>{"why",
                          [](Failure& f, const JsonValue& v) { f.why = v.name<Changed>("why", whys); }},
  };
  Failure failure;
  wire::read_members<Failure>(value, failure, members);
  return failure;
}

OperationNote read_note(std::string_view text) {
  using Note = OperationNote;
  static constexpr std::array members = {
      JsonMember<Note>{"rate_per_s", [](Note& n, const JsonValue& v) { n.rate = v.integer(0, INT64_MAX); }},
      JsonMember<Note>{"failures",
                       [](Note& n, const JsonValue& v) {
                         for (const JsonValue& each : v.elements()) n.failures.push_back(read_failure(each));
                       }},
  };
  Note note;
  const wire::JsonDocument document{text};
  wire::read_members<Note>(document.root(), note, members);
  return note;
}

std::string text_of(const OperationNote& note) {
  return wire::object([&](json::Writer& writer) {
    if (note.rate) writer.member("rate_per_s", *note.rate);
    writer.key("failures");
    wire::write_array(writer, note.failures, [](json::Writer& out, const BulkResult::Failure& each) {
      out.open('{');
      out.member("queue", each.ref.queue);
      out.member("id", each.ref.id);
      out.member("why", to_string(each.why));
      out.close('}');
    });
  });
}

}  // namespace

OperationNote OperationNotes::get(const std::string& id) const { return std::move(get({&id, 1}).front()); }

std::vector<OperationNote> OperationNotes::get(std::span<const std::string> ids) const {
  std::vector<OperationNote> notes(ids.size());
  if (documents_ == nullptr || ids.empty()) return notes;
  std::vector<DocumentName> names;
  for (const std::string& id : ids) names.push_back({std::string{folder}, id});
  const auto found = documents_->get(names, clock_.call());
  for (std::size_t i = 0; i < found.size(); ++i) {
    if (found[i]) notes[i] = read_note(found[i]->text);
  }
  return notes;
}

void OperationNotes::change(const std::string& id, const std::function<void(OperationNote&)>& change) const {
  if (documents_ == nullptr)
    throw Problem{501, "not_supported", "this store keeps nothing of an operation but its task"};
  const DocumentName name{std::string{folder}, id};
  for (int i = 0; i < tries; ++i) {
    const Call call = clock_.call();
    const auto found = documents_->get({&name, 1}, call).front();
    OperationNote note = found ? read_note(found->text) : OperationNote{};
    change(note);
    const Document document{.folder = name.folder,
                            .name = name.name,
                            .text = text_of(note),
                            .version = found ? found->version : 0,
                            .expires_at = call.now + kept};
    if (documents_->put({&document, 1}, clock_.call()).front()) return;
  }
  throw Error{ErrorKind::unavailable,
              "what is noted of the operation changed each time it was to be changed"};
}

}  // namespace tidemill::server
