#include "drivers/http/date.hpp"

#include <curl/curl.h>

namespace tidemill::http {

std::optional<std::chrono::sys_seconds> parse_date(const std::string& text) {
  const time_t seconds = curl_getdate(text.c_str(), nullptr);
  if (seconds == -1) return {};
  return std::chrono::sys_seconds{std::chrono::seconds{seconds}};
}

}  // namespace tidemill::http
