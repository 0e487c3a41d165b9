#pragma once

#include <string_view>

/// What several scripts share, as Lua texts to begin a script with.
namespace tidemill::redis_store {

extern const std::string_view
    prelude;  ///< What all scripts begin with: the call's session, and its kept answer.
extern const std::string_view places;      ///< Where tasks stand, and how they come and go.
extern const std::string_view promoting;   ///< Makes due tasks pending; needs places.
extern const std::string_view enqueueing;  ///< Puts one task; needs places.
extern const std::string_view regrouping;  ///< Takes a set back to its group.
extern const std::string_view fence;       ///< What a late report or beat finds.
extern const std::string_view leasing;     ///< What is not plain about a leased task.
extern const std::string_view counting;    ///< The counters that Asynq's tools show.

}  // namespace tidemill::redis_store
