// A program that does nothing, to link one layer with: see folders.cmake.
int main() {}
