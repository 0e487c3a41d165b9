// The names of all enumerations, in one place: what is printed is what is parsed.
#include <array>
#include <string_view>

#include <tidemill/handler.hpp>
#include <tidemill/inspector.hpp>
#include <tidemill/log.hpp>
#include <tidemill/store.hpp>

#include "core/schedule_rule.hpp"

namespace tidemill {

namespace {

template <std::size_t N>
constexpr std::string_view name(const std::array<std::string_view, N>& names, auto value) noexcept {
  const auto index = static_cast<std::size_t>(value);
  return index < N ? names[index] : std::string_view{"?"};
}

template <class E, std::size_t N>
std::optional<E> parse(const std::array<std::string_view, N>& names, std::string_view text) noexcept {
  for (std::size_t i = 0; i < N; ++i) {
    if (names[i] == text) return static_cast<E>(i);
  }
  return {};
}

using Names = std::string_view;
constexpr std::array states = {Names{"gone"},  Names{"scheduled"}, Names{"pending"},  Names{"active"},
                               Names{"retry"}, Names{"completed"}, Names{"archived"}, Names{"aggregating"},
                               Names{"held"},  Names{"blocked"}};
constexpr std::array conflicts = {Names{"keep"}, Names{"reject"}, Names{"replace"}};
constexpr std::array levels = {Names{"debug"}, Names{"info"}, Names{"warning"}, Names{"error"},
                               Names{"silent"}};
constexpr std::array puts = {Names{"created"}, Names{"replaced"}, Names{"exists"}, Names{"busy"},
                             Names{"fired"},   Names{"invalid"},  Names{"failed"}, Names{"unknown"}};
constexpr std::array reports = {Names{"applied"}, Names{"lost"}, Names{"ended"}, Names{"failed"},
                                Names{"unknown"}};
constexpr std::array signals = {Names{"none"},  Names{"cancel"}, Names{"hold"}, Names{"lost"},
                                Names{"quiet"}, Names{"resume"}, Names{"stop"}, Names{"unknown"}};
constexpr std::array changes = {Names{"changed"}, Names{"signalled"}, Names{"absent"}, Names{"wrong_state"},
                                Names{"failed"},  Names{"stale"},     Names{"exists"}, Names{"conflict"}};
constexpr std::array features = {Names{"list"},     Names{"search"},   Names{"order"},  Names{"delay"},
                                 Names{"unique"},   Names{"priority"}, Names{"groups"}, Names{"schedules"},
                                 Names{"hold"},     Names{"crashes"},  Names{"inside"}, Names{"locks"},
                                 Names{"documents"}};
constexpr std::array outcomes = {Names{"success"}, Names{"failure"}, Names{"snooze"},  Names{"again"},
                                 Names{"discard"}, Names{"archive"}, Names{"deferred"}};
constexpr std::array reasons = {Names{"none"},     Names{"cancel"},   Names{"hold"}, Names{"timeout"},
                                Names{"deadline"}, Names{"shutdown"}, Names{"lost"}};
constexpr std::array acts = {Names{"run"},     Names{"hold"},  Names{"resume"},     Names{"cancel"},
                             Names{"archive"}, Names{"erase"}, Names{"reschedule"}, Names{"move"}};
constexpr std::array missed_rules = {Names{"skip"}, Names{"once"}, Names{"all"}};
constexpr std::array overlaps = {Names{"allow"}, Names{"skip"}, Names{"queue"}};
constexpr std::array fates = {Names{"enqueued"}, Names{"late"}, Names{"skipped_overlap"},
                              Names{"skipped_missed"}, Names{"failed"}};
constexpr std::array gaps = {Names{"skip"}, Names{"before"}, Names{"after"}};
constexpr std::array folds = {Names{"first"}, Names{"last"}, Names{"both"}};

static_assert(states.size() == state_count);

}  // namespace

std::string_view to_string(State state) noexcept { return name(states, state); }
std::optional<State> parse_state(std::string_view text) noexcept { return parse<State>(states, text); }
std::string_view to_string(OnConflict what) noexcept { return name(conflicts, what); }
std::string_view to_string(Level level) noexcept { return name(levels, level); }
std::optional<Level> parse_level(std::string_view text) noexcept { return parse<Level>(levels, text); }
std::string_view to_string(Put put) noexcept { return name(puts, put); }
std::string_view to_string(Reported reported) noexcept { return name(reports, reported); }
std::string_view to_string(Signal signal) noexcept { return name(signals, signal); }
std::string_view to_string(Changed changed) noexcept { return name(changes, changed); }
std::string_view to_string(Feature feature) noexcept { return name(features, feature); }
std::string_view to_string(Outcome::Kind kind) noexcept { return name(outcomes, kind); }
std::string_view to_string(StopReason reason) noexcept { return name(reasons, reason); }
std::string_view to_string(Act act) noexcept { return name(acts, act); }
std::optional<Act> parse_act(std::string_view text) noexcept { return parse<Act>(acts, text); }
std::string_view to_string(Missed missed) noexcept { return name(missed_rules, missed); }
std::optional<Missed> parse_missed(std::string_view text) noexcept {
  return parse<Missed>(missed_rules, text);
}
std::string_view to_string(Fate fate) noexcept { return name(fates, fate); }
std::optional<Fate> parse_fate(std::string_view text) noexcept { return parse<Fate>(fates, text); }

std::string_view to_string(Overlap overlap) noexcept { return name(overlaps, overlap); }
std::optional<Overlap> parse_overlap(std::string_view text) noexcept {
  return parse<Overlap>(overlaps, text);
}
std::string_view to_string(Gap gap) noexcept { return name(gaps, gap); }
std::optional<Gap> parse_gap(std::string_view text) noexcept { return parse<Gap>(gaps, text); }
std::string_view to_string(Fold fold) noexcept { return name(folds, fold); }
std::optional<Fold> parse_fold(std::string_view text) noexcept { return parse<Fold>(folds, text); }

}  // namespace tidemill
