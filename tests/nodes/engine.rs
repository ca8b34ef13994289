//! Docker on the nodes: an image made offline, and what is asked of the engines of the services.

use crate::bed::Nodes;

/// A folder for the image of a node: busybox, its names, a page.
const ROOTFS: &str = "r=/disk/rootfs; mkdir -p $r/{bin,etc,proc,sys,dev,tmp,www}; cp /bin/busybox $r/bin/
    for a in $(busybox --list | grep -vx busybox); do ln -sf busybox $r/bin/$a; done
    echo root:x:0:0:root:/:/bin/sh >$r/etc/passwd; echo hello >$r/www/index.html; ";

/// Prints the date each second, until it is asked to end.
pub const CLOCK: &str = "trap 'exit 0' TERM; while :; do date; sleep 1 & wait $!; done";

/// Makes the image `name`, whose command is the shell code `command`, and leaves it in `/shared/FILE`. Its id, 12 digits.
pub fn image(bed: &Nodes, node: &str, name: &str, command: &str, file: &str) -> String {
    let env =
        "[DEFAULT]\nservice_type = TST\nnodes = NODE\ndocker_data_dir = /disk/maker\n[container#0]\ntype = docker\nrun_image = none\n";
    let host = bed.sh(node, "hostname");
    bed.service(&[node], "maker", &env.replace("NODE", &host));
    bed.write(node, "/shared/.cmd", &format!("CMD [\"/bin/sh\", \"-c\", \"{command}\"]"));
    bed.sh(
        node,
        &format!(
            "{ROOTFS} id=$(tar -C $r -c . | maker docker import -c \"$(cat /shared/.cmd)\" - {name}); echo ${{id:7:12}}
             maker docker save -o /shared/{file} {name}; maker stop 2>/dev/null; rm /opt/opensvc/etc/maker*"
        ),
    )
}

/// The image in `/shared/FILE`, for the engine of a service.
pub fn load(bed: &Nodes, node: &str, service: &str, file: &str) {
    bed.sh(node, &format!("{service} docker load -q -i /shared/{file}"));
}
