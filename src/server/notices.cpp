#include "server/notices.hpp"

#include <algorithm>
#include <array>
#include <set>

#include <fmt/format.h>

#include "core/uuid.hpp"
#include "wire/task_json.hpp"

namespace tidemill::server {

namespace {

using namespace std::chrono_literals;
using wire::JsonMember;
using wire::JsonValue;

constexpr std::string_view marks_folder = "marks";
constexpr std::string_view mutes_folder = "mutes";
constexpr std::size_t marks_max = 1000;
constexpr std::size_t label_bytes_max = 200;
/// As long as days are kept in the statistics.
constexpr Duration marks_kept = 366 * 24h;
constexpr Duration mute_max = 30 * 24h;

/// Names stand in the order of time, and begin so.
std::string name_at(TimePoint at) {
  return fmt::format("{:016x}", std::max<std::int64_t>(at.time_since_epoch().count(), 0));
}

/// Also of what is stored.
Mark read_mark(const JsonValue& value) {
  static constexpr std::array members = {
      JsonMember<Mark>{"label", [](Mark& m, const JsonValue& v) { m.label = v.text(); }},
      JsonMember<Mark>{"at", [](Mark& m, const JsonValue& v) { m.at = v.time(); }},
      JsonMember<Mark>{"by", [](Mark& m, const JsonValue& v) { m.by = v.text(); }},
  };
  Mark mark;
  wire::read_members<Mark>(value, mark, members);
  return mark;
}

std::string text_of(const Mark& mark) {
  return wire::object([&](json::Writer& writer) {
    writer.member("label", mark.label);
    wire::member_time(writer, "at", mark.at);
    writer.member("by", mark.by);
  });
}

struct Mute {
  Duration length{};
  std::string target = {};
};

Mute read_mute(const JsonValue& value) {
  static constexpr std::array members = {
      JsonMember<Mute>{"for",
                       [](Mute& m, const JsonValue& v) {
                         m.length = v.duration();
                         if (m.length <= Duration::zero() || m.length > mute_max)
                           v.refuse("must be more than 0 and at most 30 days, for instance \"2h\"");
                       }},
      JsonMember<Mute>{"target", [](Mute& m, const JsonValue& v) { m.target = v.text(); }},
  };
  Mute mute;
  wire::read_members<Mute>(value, mute, members);
  if (mute.length == Duration::zero()) throw wire::BadValue{"/for", "is missing; write for instance \"2h\""};
  return mute;
}

/// Codes have no spaces. Without a target it is for all.
std::string mute_name(std::string_view code, std::string_view target) {
  return fmt::format("{} {}", code, target);
}

std::string known_code(const Ask& ask) {
  const std::vector<std::string> codes{finding_codes.begin(), finding_codes.end()};
  if (std::ranges::find(codes, ask.path[0]) == codes.end()) {
    throw Problem{
        404, "not_found",
        fmt::format("there is no attention called \"{}\"; there are {}", ask.path[0], wire::either(codes))};
  }
  return ask.path[0];
}

}  // namespace

void write_mark(json::Writer& writer, const Mark& mark) {
  writer.open('{');
  writer.member("id", mark.id);
  wire::member_time(writer, "at", mark.at);
  writer.member("label", mark.label);
  wire::member_text(writer, "by", mark.by);
  writer.close('}');
}

Documents& Notices::documents() const {
  Documents* documents = service_.store.documents();
  if (documents == nullptr) throw Problem{501, "not_supported", "this store keeps tasks and nothing else"};
  return *documents;
}

std::vector<Mark> Notices::marks(TimePoint from, TimePoint to) {
  std::vector<Mark> found;
  Documents* documents = service_.store.documents();
  if (documents == nullptr) return found;
  for (const Document& document : documents->list(marks_folder, name_at(from), marks_max, clock_.call())) {
    if (document.name >= name_at(to)) break;
    const wire::JsonDocument text{document.text};
    Mark mark = read_mark(text.root());
    mark.id = document.name;
    found.push_back(std::move(mark));
  }
  return found;
}

std::size_t Notices::take_muted(std::vector<Finding>& findings) {
  Documents* documents = service_.store.documents();
  if (documents == nullptr || findings.empty()) return 0;
  std::vector<DocumentName> names;
  for (const Finding& finding : findings) {
    names.push_back({std::string{mutes_folder}, mute_name(finding.code, "")});
    names.push_back({std::string{mutes_folder}, mute_name(finding.code, finding.target)});
  }
  const auto found = documents->get(names, clock_.call());
  std::vector<Finding> heard;
  for (std::size_t i = 0; i < findings.size(); ++i) {
    if (!found[2 * i] && !found[2 * i + 1]) heard.push_back(std::move(findings[i]));
  }
  const std::size_t muted = findings.size() - heard.size();
  findings = std::move(heard);
  return muted;
}

http::Response Notices::add_mark(const Ask& ask) {
  const Call call = clock_.call();
  const auto document = ask.body();
  Mark mark = read_mark(document.root());
  if (mark.label.empty() || mark.label.size() > label_bytes_max)
    throw wire::BadValue{"/label", fmt::format("must have 1 to {} bytes", label_bytes_max)};
  if (!mark.by.empty()) throw wire::BadValue{"/by", "is the name of the token that sends it"};
  if (mark.at == TimePoint{}) mark.at = call.now;
  if (mark.at <= call.now - marks_kept || mark.at > call.now + 24h)
    throw wire::BadValue{"/at", "must be within the last 366 days"};
  mark.by = ask.caller.name;
  mark.id = fmt::format("{}-{:08x}", name_at(mark.at), static_cast<std::uint32_t>(random_bits()));
  const Document written{.folder = std::string{marks_folder},
                         .name = mark.id,
                         .text = text_of(mark),
                         .expires_at = mark.at + marks_kept};
  if (!documents().put({&written, 1}, call).front())
    throw Problem{503, "store_unavailable", "the mark was not written; try again"};
  std::string text;
  json::Writer writer{text};
  write_mark(writer, mark);
  return json_answer(201, std::move(text));
}

http::Response Notices::erase_mark(const Ask& ask) {
  const EraseDocument erase{std::string{marks_folder}, ask.path[0], {}};
  if (!documents().erase({&erase, 1}, clock_.call()).front())
    throw Problem{404, "not_found", fmt::format("there is no mark \"{}\"", ask.path[0])};
  return {204};
}

http::Response Notices::mute(const Ask& ask) {
  const std::string code = known_code(ask);
  const auto document = ask.body();
  const Mute wanted = read_mute(document.root());
  if (code.starts_with("queue_") && !wanted.target.empty()) {
    ask.caller.check_queue(wanted.target);
  } else {
    ask.caller.check_all_queues();
  }
  const Call call = clock_.call();
  const TimePoint until = call.now + wanted.length;
  const EraseDocument before{std::string{mutes_folder}, mute_name(code, wanted.target), {}};
  const Document written{.folder = before.folder, .name = before.name, .text = "{}", .expires_at = until};
  documents().erase({&before, 1}, call);
  documents().put({&written, 1}, clock_.call());  // If somebody else has just muted it, it is muted.
  return json_answer(200, wire::object([&](json::Writer& writer) {
                       writer.member("code", code);
                       wire::member_text(writer, "target", wanted.target);
                       wire::member_time(writer, "until", until);
                     }));
}

void Notices::add_routes(Routes& routes) {
  routes.add({.method = "POST",
              .pattern = "/api/v1/marks",
              .summary = "Mark an instant on the charts, such as a deployment; without `at`: now",
              .roles = operators,
              .all_queues = true,
              .body = R"({"label":"release 4.2"})",
              .handle = [this](const Ask& ask) { return add_mark(ask); }});
  routes.add({.method = "DELETE",
              .pattern = "/api/v1/marks/{id}",
              .summary = "Take a mark back",
              .roles = operators,
              .all_queues = true,
              .handle = [this](const Ask& ask) { return erase_mark(ask); }});
  routes.add(
      {.method = "POST",
       .pattern = "/api/v1/attention/{code}/mute",
       .summary = "Leave a kind of attention out of the overview for a time, for one target or for all",
       .roles = operators,
       .body = R"({"for":"2h","target":"mail"})",
       .handle = [this](const Ask& ask) { return mute(ask); }});
}

}  // namespace tidemill::server
