#include "drivers/http/target.hpp"

#include <memory>
#include <stdexcept>

#include <fmt/format.h>

#include <curl/curl.h>

#include "drivers/http/headers.hpp"

namespace tidemill::http {

namespace {

struct CleanUp {
  void operator()(CURLU* url) const noexcept { curl_url_cleanup(url); }
  void operator()(char* text) const noexcept { curl_free(text); }
};

std::string part(CURLU* url, CURLUPart which) {
  char* text = nullptr;
  if (curl_url_get(url, which, &text, CURLU_DEFAULT_PORT) != CURLUE_OK) return {};
  const std::unique_ptr<char, CleanUp> owner{text};
  return text;
}

}  // namespace

std::string Target::key() const { return fmt::format("{}://{}:{}", scheme, host, port); }

std::string Target::shown() const {
  const bool usual = port == (scheme == "https" ? "443" : "80");
  return usual ? fmt::format("{}://{}{}", scheme, host, path) : key() + path;
}

Target parse_target(const std::string& url) {
  const auto refuse = [](const auto& why) {
    throw std::invalid_argument{
        fmt::format("the URL is not one to call: {}; write it as in https://example.com/path", why)};
  };
  if (url.empty()) refuse("it is empty");
  if (url.find('\0') != std::string::npos) refuse("it has a zero byte");
  const std::unique_ptr<CURLU, CleanUp> parsed{curl_url()};
  if (parsed == nullptr) throw std::bad_alloc{};
  const CURLUcode code = curl_url_set(parsed.get(), CURLUPART_URL, url.c_str(), CURLU_NON_SUPPORT_SCHEME);
  if (code != CURLUE_OK) refuse(curl_url_strerror(code));
  Target target;
  target.scheme = part(parsed.get(), CURLUPART_SCHEME);
  if (target.scheme != "http" && target.scheme != "https")
    refuse(fmt::format("its scheme is \"{}\", not http or https", target.scheme));
  target.host = lower_case(part(parsed.get(), CURLUPART_HOST));
  target.port = part(parsed.get(), CURLUPART_PORT);
  target.path = part(parsed.get(), CURLUPART_PATH);
  target.credentials =
      !part(parsed.get(), CURLUPART_USER).empty() || !part(parsed.get(), CURLUPART_PASSWORD).empty();
  return target;
}

}  // namespace tidemill::http
