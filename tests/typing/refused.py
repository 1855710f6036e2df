"""Calls that type checkers refuse, one a line, and nothing beside; see tests/test_types.py."""

import pdekit as pk

grid = pk.Grid(-3, 3, 60)
V = pk.potentials.DoubleWell()
rho0 = pk.Gaussian(mean=-1.0, std=0.3)
equation = pk.FokkerPlanck(V, beta=4)
motion = pk.Langevin(V, beta=4)

pk.solve(equation, grid, rho0, t=1, typo=4)  # refused
pk.solve(equation, grid, rho0)  # refused
pk.solve(V, grid, rho0, t=1)  # refused
pk.solve(rho0, equation, grid, t=1)  # refused
pk.solve(equation, V, rho0, t=1)  # refused
pk.solve(equation, grid, 3.0, t=1)  # refused
pk.solve(equation, grid, "gaussian", t=1)  # refused
pk.solve(equation, grid, rho0, t="soon")  # refused
pk.solve(equation, grid, rho0, t=1, scheme="implicit")  # refused
pk.solve(equation, grid, rho0, t=1, scheme=pk.schemes.Implicit)  # refused
pk.FokkerPlanck(V, beta="hot")  # refused
pk.FokkerPlanck(V)  # refused
pk.FokkerPlanck(3, beta=4)  # refused
pk.FokkerPlanck(V, beta=4, forces=V)  # refused
pk.FokkerPlanck(V, beta=4, diffusion="tensor")  # refused
pk.FokkerPlanck(V, beta=4, walls="left")  # refused
pk.McKeanVlasov(V, beta=4, interaction=1.0)  # refused
pk.HamiltonJacobiBellman(V, beta=4, running_cost=1.0)  # refused
pk.HamiltonJacobi("quadratic")  # refused
pk.Grid("a", 1, 8)  # refused
pk.Grid(0, 1, 8.5)  # refused
pk.Grid(0, 1, 8, periodic="x")  # refused
pk.Gaussian("wide")  # refused
pk.Gaussian(0, std="wide")  # refused
pk.Uniform(0, "one")  # refused
pk.PairPotential(1.0)  # refused
pk.certify(3)  # refused
pk.certificates.NonExpansive(3)  # refused
pk.Checkpoint(3)  # refused
pk.potentials.Tabulated("x", "y")  # refused
pk.potentials.Quadratic("steep")  # refused
pk.Ito("tensor")  # refused
pk.slove(equation, grid, rho0, t=1)  # refused
pk.particles.Langevine(V, beta=4)  # refused
pk.optim.Adam([], lr=0.1)  # refused

pk.simulate(motion, rho0, n=10, t=1, dt="small")  # refused
pk.simulate(motion, rho0, n=10, t=1, dt=0.1, steps=3)  # refused
pk.simulate(equation, rho0, n=10, t=1, dt=0.1)  # refused
pk.simulate(motion, V, n=10, t=1, dt=0.1)  # refused
pk.simulate(motion, rho0, n=10, t=1, dt=0.1, observe="moments")  # refused
pk.Langevin(V, beta="hot")  # refused
pk.Langevin("double well", beta=4)  # refused
pk.InteractingLangevin(V, beta=4, interaction=1.0)  # refused
pk.TwoScaleLangevin(V, beta=4, gamma="wide", epsilon=0.1, inner_steps=3)  # refused

rho = pk.solve(equation, grid, rho0, t=1)
X = pk.simulate(motion, rho0, n=10, t=1, dt=0.1)
pk.compare(X, rho)  # refused
rho.stats["step"]  # refused
X.stats["time"]  # refused
pk.control(V, 4, grid, rho0, terminal_cost="none", t=1)  # refused
pk.control(V, 4, grid, rho0, terminal_cost=V, t=1, coupling=1.0)  # refused
pk.control(V, 4, grid, rho0, terminal_cost=V, t=1, solver="newton")  # refused
pk.stationary(V, grid)  # refused
pk.spectral_gap(equation, grid, count=3)  # refused
pk.self_consistent_states(equation, grid)  # refused
pk.optim.EntropySGD(lr=0.1)  # refused
pk.optim.EntropySGD([], learning_rate=0.1)  # refused
