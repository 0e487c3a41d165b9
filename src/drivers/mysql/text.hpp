#pragma once

#include <string>
#include <string_view>

#include "drivers/sql/text.hpp"

namespace tidemill::mysql {

inline constexpr char begin_text[] = "START TRANSACTION";
inline constexpr char commit_text[] = "COMMIT";

/// Of a connection that is ours: so that nothing depends on how the server is set.
inline constexpr char session_settings[] =
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED;"
    "SET SESSION autocommit = 1, sql_mode = 'STRICT_ALL_TABLES,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,"
    "NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION'";

/// A statement that was put together while the program runs, values and all: `query(any_text, WholeText{…})`.
/// Who makes it answers for its literals; append_literal makes them.
struct WholeText {
  std::string_view text;
};
inline void append_literal(std::string& out, WholeText whole) { out += whole.text; }

inline constexpr sql::Sql any_text{"$1"};

}  // namespace tidemill::mysql
