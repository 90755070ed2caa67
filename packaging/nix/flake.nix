# nix build 'PATH-OF-THE-TREE?dir=packaging/nix'
{
  description = "Makes programs queue on GNU make's job server";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";

  outputs =
    { self, nixpkgs }:
    let
      systems = [ "x86_64-linux" "aarch64-linux" ];
      version = (builtins.fromTOML (builtins.readFile ../../Cargo.toml)).workspace.package.version;
      package =
        pkgs:
        pkgs.rustPlatform.buildRustPackage {
          pname = "jsshim";
          inherit version;
          src = ../..;
          cargoLock.lockFile = ../../Cargo.lock;
          # The workspace as a whole, as scripts/install expects it.
          buildPhase = ''
            runHook preBuild
            cargo build --frozen --offline --release --workspace
            runHook postBuild
          '';
          installPhase = ''
            runHook preInstall
            patchShebangs scripts
            scripts/install --built=$PWD/target/release --prefix=$out --libdir=lib
            rm $out/share/jsshim/manifest
            runHook postInstall
          '';
          # They need the tools that scripts/setup installs.
          doCheck = false;
          meta = {
            description = "Makes programs queue on GNU make's job server";
            license = with pkgs.lib.licenses; [ mit asl20 ];
            platforms = systems;
            mainProgram = "jsshim";
          };
        };
    in
    {
      packages = nixpkgs.lib.genAttrs systems (system: {
        default = package nixpkgs.legacyPackages.${system};
      });
    };
}
