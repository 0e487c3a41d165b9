#include "drivers/redis/reply.hpp"

namespace tidemill::redis {

bool Reply::refused(std::string_view code) const noexcept {
  return kind == Kind::error && text.starts_with(code) &&
         (text.size() == code.size() || text[code.size()] == ' ');
}

}  // namespace tidemill::redis
