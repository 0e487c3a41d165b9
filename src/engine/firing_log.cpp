#include "engine/firing_log.hpp"

#include <algorithm>
#include <map>

#include <tidemill/json.hpp>

#include "core/schedule_rule.hpp"

namespace tidemill::engine {

namespace {

constexpr std::string_view folder = "firings";
/// Longer than a year, so that a yearly schedule has a past. What a schedule leaves that was erased while it
/// fired goes by it, too.
constexpr Duration kept = std::chrono::days{400};
/// Documents in one call.
constexpr std::size_t step = 100;
/// How often a document is read and written again when another scheduler writes it at the same time.
constexpr int tries_max = 10;

/// A firing at rest; times in microseconds since 1970.
struct Line {
  std::int64_t instant = 0;
  std::int64_t fired_at = 0;
  std::string fate = {};
  std::string task = {};
  std::string why = {};
};
TIDEMILL_FIELDS(Line, instant, fired_at, fate, task, why)

struct Lines {
  std::vector<Line> firings = {};
};
TIDEMILL_FIELDS(Lines, firings)

Line to_line(const FiringInfo& firing) {
  return {firing.instant.time_since_epoch().count(), firing.fired_at.time_since_epoch().count(),
          std::string{to_string(firing.fate)}, firing.task, firing.why};
}

std::vector<Line> lines_of(const Document& document) {
  return document.text.empty() ? std::vector<Line>{} : Codec<Lines>::decode(document.text).firings;
}

}  // namespace

std::vector<Document> FiringLog::documents_of(std::span<const std::string> schedules) {
  std::vector<DocumentName> names;
  for (const std::string& schedule : schedules) names.push_back({std::string{folder}, schedule});
  const auto found = documents_->get(names, clock_.call());
  std::vector<Document> documents;
  for (std::size_t i = 0; i < names.size(); ++i)
    documents.push_back(found[i].value_or(Document{names[i].folder, names[i].name}));
  return documents;
}

void FiringLog::add(std::span<const Entry> entries) {
  if (!keeps()) return;
  std::map<std::string, std::vector<Line>> wanted;
  for (const Entry& entry : entries) wanted[entry.schedule].push_back(to_line(entry.firing));
  for (int tries = 0; !wanted.empty() && tries < tries_max;) {
    std::vector<std::string> names;
    for (auto at = wanted.begin(); at != wanted.end() && names.size() < step; ++at)
      names.push_back(at->first);
    std::vector<Document> documents = documents_of(names);
    const TimePoint now = clock_.now();
    for (Document& document : documents) {
      Lines all{lines_of(document)};
      const std::vector<Line>& more = wanted[document.name];
      all.firings.insert(all.firings.end(), more.begin(), more.end());
      if (all.firings.size() > firings_max)
        all.firings.erase(all.firings.begin(), all.firings.end() - firings_max);
      document.text = Codec<Lines>::encode(all);
      document.expires_at = now + kept;
    }
    const auto written = documents_->put(documents, clock_.call());
    const std::size_t before = wanted.size();
    for (std::size_t i = 0; i < names.size(); ++i) {
      if (written[i]) wanted.erase(names[i]);
    }
    tries = wanted.size() < before ? 0 : tries + 1;
  }
}

std::vector<std::vector<FiringInfo>> FiringLog::read(std::span<const std::string> schedules) {
  std::vector<std::vector<FiringInfo>> answer;
  for (; !schedules.empty(); schedules = schedules.subspan(std::min(step, schedules.size()))) {
    for (const Document& document : documents_of(schedules.first(std::min(step, schedules.size())))) {
      std::vector<FiringInfo>& firings = answer.emplace_back();
      for (const Line& line : lines_of(document)) {
        const auto fate = parse_fate(line.fate);
        if (!fate) continue;  // Of a newer version.
        firings.push_back({TimePoint{Duration{line.instant}}, TimePoint{Duration{line.fired_at}}, *fate,
                           line.task, line.why});
      }
      std::ranges::reverse(firings);
    }
  }
  return answer;
}

void FiringLog::erase(std::span<const std::string> schedules) {
  if (!keeps() || schedules.empty()) return;
  std::vector<EraseDocument> erased;
  for (const std::string& schedule : schedules) erased.push_back({std::string{folder}, schedule, {}});
  documents_->erase(erased, clock_.call());
}

}  // namespace tidemill::engine
