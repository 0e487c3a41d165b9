#include "image.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <complex>
#include <fstream>
#include <stdexcept>
#include <string>
#include <system_error>

namespace image {

namespace {

constexpr std::size_t side_most = 20'000;

[[noreturn]] void fail(const std::filesystem::path& file, const char* what) {
  throw std::system_error{errno, std::generic_category(), file.string() + ": " + what};
}

void write_all(int fd, const std::filesystem::path& file, const char* data, std::size_t size) {
  while (size > 0) {
    const ssize_t count = ::write(fd, data, size);
    if (count < 0 && errno != EINTR) fail(file, "can't be written");
    if (count <= 0) continue;
    data += count;
    size -= static_cast<std::size_t>(count);
  }
}

/// The pixels from `first` to `last` of `length`, as one of `parts` equal parts sees them.
struct Range {
  std::size_t first, last;
};
Range part(std::size_t i, std::size_t parts, std::size_t length) {
  const std::size_t first = i * length / parts;
  return {first, std::max((i + 1) * length / parts, first + 1)};
}

std::array<std::uint8_t, 3> mean(const Image& image, Range columns, Range rows) {
  std::array<std::size_t, 3> sums{};
  for (std::size_t y = rows.first; y < rows.last; ++y) {
    for (std::size_t x = columns.first; x < columns.last; ++x) {
      for (std::size_t c = 0; c < 3; ++c) sums[c] += image.rgb[(y * image.width + x) * 3 + c];
    }
  }
  const std::size_t count = (columns.last - columns.first) * (rows.last - rows.first);
  std::array<std::uint8_t, 3> out{};
  for (std::size_t c = 0; c < 3; ++c) out[c] = static_cast<std::uint8_t>(sums[c] / count);
  return out;
}

int steps_to_escape(std::complex<double> c) {
  std::complex<double> z = 0;
  int steps = 0;
  while (steps < 60 && std::norm(z) < 4) {
    z = z * z + c;
    ++steps;
  }
  return steps;
}

}  // namespace

Image read(const std::filesystem::path& file) {
  std::ifstream in{file, std::ios::binary};
  std::string magic;
  std::size_t most = 0;
  Image image;
  in >> magic >> image.width >> image.height >> most;
  in.get();
  if (!in || magic != "P6" || most != 255 || image.width == 0 || image.height == 0 ||
      image.width > side_most || image.height > side_most) {
    throw std::runtime_error{file.string() + " is no PPM image of 8 bits a colour"};
  }
  image.rgb.resize(image.width * image.height * 3);
  in.read(reinterpret_cast<char*>(image.rgb.data()), static_cast<std::streamsize>(image.rgb.size()));
  if (!in) throw std::runtime_error{file.string() + " ends too soon"};
  return image;
}

void write(const std::filesystem::path& file, const Image& image) {
  // By process, so that two that write the same file do not write into one another's.
  const std::filesystem::path part = file.string() + "." + std::to_string(getpid()) + ".part";
  const int fd = open(part.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) fail(part, "can't be made");
  const std::string head =
      "P6\n" + std::to_string(image.width) + " " + std::to_string(image.height) + "\n255\n";
  write_all(fd, part, head.data(), head.size());
  write_all(fd, part, reinterpret_cast<const char*>(image.rgb.data()), image.rgb.size());
  if (fsync(fd) != 0) fail(part, "can't be synced");
  close(fd);
  std::filesystem::rename(part, file);
}

Image shrink(const Image& image, std::size_t width) {
  Image out;
  out.width = std::min(width, image.width);
  out.height = std::max<std::size_t>(image.height * out.width / image.width, 1);
  out.rgb.reserve(out.width * out.height * 3);
  for (std::size_t y = 0; y < out.height; ++y) {
    for (std::size_t x = 0; x < out.width; ++x) {
      const auto pixel = mean(image, part(x, out.width, image.width), part(y, out.height, image.height));
      out.rgb.insert(out.rgb.end(), pixel.begin(), pixel.end());
    }
  }
  return out;
}

Image draw(std::size_t number, std::size_t width, std::size_t height) {
  Image image{.width = width, .height = height};
  image.rgb.reserve(width * height * 3);
  const double size = 3.0 / (1.0 + static_cast<double>(number % 200) / 10);
  const std::complex<double> corner{-0.74 - size / 2, 0.1 + static_cast<double>(number) * 1e-5 - size / 2};
  for (std::size_t y = 0; y < height; ++y) {
    for (std::size_t x = 0; x < width; ++x) {
      const double scale = size / static_cast<double>(width);
      const std::complex<double> at{static_cast<double>(x) * scale, static_cast<double>(y) * scale};
      const int steps = steps_to_escape(corner + at);
      for (const int factor : {4, 7, 13}) image.rgb.push_back(static_cast<std::uint8_t>(steps * factor));
    }
  }
  return image;
}

}  // namespace image
