#include "drivers/http/content_coding.hpp"

#include <algorithm>

#include <zlib.h>

namespace tidemill::http {

namespace {

constexpr std::string_view header_name = "content-encoding";
constexpr std::size_t step_bytes = 64U << 10U;
/// Of inflateInit2: the largest window, and a gzip header before it.
constexpr int gzip_window = MAX_WBITS + 16;

constexpr CodingError malformed{400, "the body is not the gzip that Content-Encoding says"};
constexpr CodingError too_large{413, "the body is too large when unpacked"};

class Inflater {
 public:
  Inflater() : ready_(inflateInit2(&stream_, gzip_window) == Z_OK) {}
  ~Inflater() {
    if (ready_) inflateEnd(&stream_);
  }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;

  /// One member after the other, as RFC 1952 allows.
  std::optional<CodingError> run(std::string& packed, std::string& plain, std::size_t most) {
    if (!ready_) return CodingError{503, "there is no memory to unpack the body"};
    stream_.next_in = reinterpret_cast<Bytef*>(packed.data());
    stream_.avail_in = static_cast<uInt>(packed.size());
    for (;;) {
      const std::size_t size = plain.size();
      plain.resize(std::min(size + step_bytes, most + 1));
      stream_.next_out = reinterpret_cast<Bytef*>(plain.data() + size);
      stream_.avail_out = static_cast<uInt>(plain.size() - size);
      const int result = inflate(&stream_, Z_NO_FLUSH);
      plain.resize(plain.size() - stream_.avail_out);
      if (plain.size() > most) return too_large;
      if (result == Z_STREAM_END) {
        if (stream_.avail_in == 0) return {};
        if (inflateReset(&stream_) != Z_OK) return malformed;
      } else if (result != Z_OK) {  // Also when nothing is left to read, and the end has not come.
        return malformed;
      }
    }
  }

 private:
  z_stream stream_{};
  bool ready_;
};

}  // namespace

std::optional<CodingError> decode_body(Headers& headers, std::string& body, std::size_t most) {
  const std::string coding = lower_case(find_header(headers, header_name));
  if (coding.empty() || coding == "identity") return {};
  if (coding != "gzip" && coding != "x-gzip")
    return CodingError{415, "a body may be coded by gzip, and in no other way"};
  std::string plain;
  if (const auto error = Inflater{}.run(body, plain, most)) return error;
  body = std::move(plain);
  std::erase_if(headers, [](const auto& header) { return header.first == header_name; });
  return {};
}

}  // namespace tidemill::http
